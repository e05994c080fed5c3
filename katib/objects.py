"""What ParaK8s writes of an Experiment, each field named as in ``kubeflow.org/v1beta1``, and of a Job of ``batch/v1``.

Source: github.com/kubeflow/katib, pkg/apis/controller, release 0.19; kubernetes.io/docs/reference. The parts of pods
are those of a TFJob: :mod:`parak8s.tfjobs.objects`.
"""

from typing import Literal

from parak8s.experiment.dimensions import Distribution, Kind
from parak8s.tfjobs.objects import AnyContainer, AnyPod, Count, Metadata, NotBelowZero, Part, TFJob


class TrialContainer(AnyContainer):
    """Container. Katib's webhook wraps its command into a shell, and mounts the folder it collects metrics from."""

    name: Literal["training"] = "training"


class TrialPod(AnyPod):
    """PodSpec of a Job, which needs a restartPolicy; a policy for failed pods allows ``Never`` alone."""

    containers: tuple[TrialContainer, ...]
    restart_policy: Literal["Never"] = "Never"


class TrialPodTemplate(Part):
    """PodTemplateSpec."""

    metadata: Metadata
    spec: TrialPod


class PodCondition(Part):
    """PodFailurePolicyOnPodConditionsPattern."""

    type: Literal["DisruptionTarget"] = "DisruptionTarget"
    status: Literal["True"] = "True"


class PodFailureRule(Part):
    """PodFailurePolicyRule."""

    action: Literal["Ignore"] = "Ignore"
    on_pod_conditions: tuple[PodCondition, ...] = (PodCondition(),)


class PodFailurePolicy(Part):
    """PodFailurePolicy: a pod that had to go for another's sake is made anew, and does not count as failed."""

    rules: tuple[PodFailureRule, ...] = (PodFailureRule(),)


class JobSpec(Part):
    """JobSpec."""

    backoff_limit: NotBelowZero = 0
    active_deadline_seconds: Count
    pod_failure_policy: PodFailurePolicy = PodFailurePolicy()
    suspend: bool | None = None
    template: TrialPodTemplate


class Job(Part):
    """Job of ``batch/v1``."""

    api_version: Literal["batch/v1"] = "batch/v1"
    kind: Literal["Job"] = "Job"
    metadata: Metadata
    spec: JobSpec


class MetricStrategy(Part):
    """MetricStrategy: which of a metric's values counts."""

    name: str
    value: Literal["min", "max", "latest"]


class ObjectiveSpec(Part):
    """ObjectiveSpec."""

    type: Literal["maximize", "minimize"]
    goal: float | None = None
    objective_metric_name: str
    additional_metric_names: tuple[str, ...] | None = None
    metric_strategies: tuple[MetricStrategy, ...]


class NamedValue(Part):
    """AlgorithmSetting, EarlyStoppingSetting."""

    name: str
    value: str


class AlgorithmSpec(Part):
    """AlgorithmSpec."""

    algorithm_name: str
    algorithm_settings: tuple[NamedValue, ...]


class EarlyStoppingSpec(Part):
    """EarlyStoppingSpec."""

    algorithm_name: Literal["medianstop"]
    algorithm_settings: tuple[NamedValue, ...]


class FeasibleSpace(Part):
    """FeasibleSpace: all values are text. Without a distribution a range is drawn evenly."""

    min: str | None = None
    max: str | None = None
    step: str | None = None
    list: tuple[str, ...] | None = None
    distribution: Distribution | None = None


class ParameterSpec(Part):
    """ParameterSpec."""

    name: str
    parameter_type: Kind
    feasible_space: FeasibleSpace


class Collector(Part):
    """CollectorSpec."""

    kind: Literal["StdOut"] = "StdOut"


class MetricsCollectorSpec(Part):
    """MetricsCollectorSpec."""

    collector: Collector = Collector()


class TrialParameter(Part):
    """TrialParameterSpec: ``${trialParameters.NAME}`` in the trial is replaced by what the reference leads to."""

    name: str
    description: str
    reference: str


class TrialTemplate(Part):
    """TrialTemplate. ``retain`` keeps the jobs of trials that are over, with their pods and logs."""

    retain: bool = False
    primary_container_name: Literal["training", "tensorflow"]
    primary_pod_labels: dict[str, str] | None = None
    success_condition: str
    failure_condition: str
    trial_parameters: tuple[TrialParameter, ...]
    trial_spec: Job | TFJob


class ExperimentSpec(Part):
    """ExperimentSpec."""

    objective: ObjectiveSpec
    algorithm: AlgorithmSpec
    early_stopping: EarlyStoppingSpec | None = None
    parallel_trial_count: Count
    max_trial_count: Count
    max_failed_trial_count: NotBelowZero | None = None
    resume_policy: Literal["LongRunning", "FromVolume", "Never"]
    parameters: tuple[ParameterSpec, ...]
    metrics_collector_spec: MetricsCollectorSpec = MetricsCollectorSpec()
    trial_template: TrialTemplate


class KatibExperiment(Part):
    """The object."""

    api_version: Literal["kubeflow.org/v1beta1"] = "kubeflow.org/v1beta1"
    kind: Literal["Experiment"] = "Experiment"
    metadata: Metadata
    spec: ExperimentSpec
