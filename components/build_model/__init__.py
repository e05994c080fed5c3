"""The component ``build_model``: an untrained network for a prepared dataset, for pipelines of other people."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def build_model(
    dataset: Input[Dataset],
    model: Output[Model],
    builder: str = "deep_cnn",
    params: str = "{}",
    options: str = "{}",
    seed: int = 0,
    code: Input[Artifact] = None,
):
    """Build a network that takes the raw examples of a dataset: preprocessing is inside, logits come out.

    Args:
        dataset: From ingest or a load component.
        builder: Registered name, or package.module:function of your own.
        params: Arguments of the builder, as YAML or JSON.
        options: Settings of the dataset's loader, as YAML or JSON; its preprocessing comes from them.
        seed: Of the weights.
        code: Folder with modules of your own.

    Returns:
        model: Folder with model.keras, untrained, with seeded weights.
    """
    from pathlib import Path

    from parak8s.components import networks

    built = networks.build(Path(dataset.path), Path(model.path), builder, params, options, seed, code)
    model.metadata.update(framework="keras", builder=builder, parameters=built.count_params())
