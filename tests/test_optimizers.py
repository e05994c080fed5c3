"""Learning rates at known steps, and optimizers as the experiment file names them."""

from typing import Any

import keras
import pytest

from parak8s.errors import EnvironmentFault
from parak8s.experiment import Optimizer, Schedule, Training
from parak8s.training.optimizers import WarmupThenDecay, learning_rate_at, make_optimizer, schedule


def rates(steps: list[int], *, epochs: int = 10, steps_per_epoch: int = 10, **plan: Any) -> list[float]:
    spec = Training(epochs=epochs, optimizer=Optimizer(learning_rate=0.5), schedule=Schedule(**plan))
    rate = schedule(spec, steps_per_epoch)
    assert isinstance(rate, WarmupThenDecay)
    return [float(rate(step)) for step in steps]


def test_a_constant_rate_is_a_number() -> None:
    assert schedule(Training(optimizer=Optimizer(learning_rate=0.5)), 10) == 0.5


def test_cosine_falls_from_the_peak_over_its_half_to_the_end() -> None:
    assert rates([0, 25, 50, 75, 100], name="cosine") == pytest.approx(
        [0.5, 0.25 + 0.25 * 0.5**0.5, 0.25, 0.25 - 0.25 * 0.5**0.5, 0.0], abs=1e-7
    )


def test_cosine_ends_at_the_final_fraction_and_stays_there() -> None:
    assert rates([0, 50, 100, 150], name="cosine", final=0.2) == pytest.approx([0.5, 0.3, 0.1, 0.1])


def test_exponential_falls_by_the_same_factor_in_the_same_time() -> None:
    assert rates([0, 25, 50, 100], name="exponential", final=0.0625) == pytest.approx([0.5, 0.25, 0.125, 0.03125])


def test_warmup_rises_step_by_step_to_the_peak_and_the_decay_shares_what_is_left() -> None:
    steps = [0, 1, 9, 19, 20, 60, 100]
    assert rates(steps, name="cosine", warmup_epochs=2) == pytest.approx([0.025, 0.05, 0.25, 0.5, 0.5, 0.25, 0.0])
    assert rates(steps, name="constant", warmup_epochs=2) == pytest.approx([0.025, 0.05, 0.25, 0.5, 0.5, 0.5, 0.5])


def test_a_part_of_an_epoch_can_be_the_warmup() -> None:
    assert rates([0, 1, 4, 5], name="constant", warmup_epochs=0.5) == pytest.approx([0.1, 0.2, 0.5, 0.5])


def test_a_warmup_shorter_than_a_step_is_none() -> None:
    assert rates([0], name="constant", warmup_epochs=0.01) == [0.5]


def test_a_schedule_comes_back_from_its_config() -> None:
    plan = WarmupThenDecay("cosine", 0.5, 0.1, 7, 50)
    assert WarmupThenDecay.from_config(plan.get_config()).get_config() == plan.get_config()


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "rmsprop", "sgd", "lion"])
def test_every_optimizer_of_the_file_exists_and_takes_what_the_file_can_say(name: Any) -> None:
    momentum = 0.9 if name in ("sgd", "rmsprop") else None
    spec = Training(
        optimizer=Optimizer(name=name, learning_rate=0.01, weight_decay=0.1, momentum=momentum), clip_norm=2.0
    )
    made = make_optimizer(spec, 10)
    assert type(made).__name__.lower() == name
    assert (made.weight_decay, made.global_clipnorm) == (0.1, 2.0)
    assert learning_rate_at(made) == pytest.approx(0.01)
    assert getattr(made, "momentum", None) == momentum


def test_weight_decay_that_is_not_given_is_the_one_of_keras_and_zero_is_zero() -> None:
    assert make_optimizer(Training(), 10).weight_decay == keras.optimizers.AdamW().weight_decay
    assert make_optimizer(Training(optimizer=Optimizer(weight_decay=0.0)), 10).weight_decay == 0.0


def test_the_loss_is_scaled_under_float16_alone() -> None:
    scaled = make_optimizer(Training(precision="mixed_float16"), 10)
    assert isinstance(scaled, keras.optimizers.LossScaleOptimizer)
    assert learning_rate_at(scaled) == pytest.approx(1e-3)
    for precision in ("float32", "mixed_bfloat16"):
        made = make_optimizer(Training(precision=precision), 10)
        assert isinstance(made, keras.optimizers.AdamW)


@pytest.mark.parametrize(("kind", "times"), [("linear", 4.0), ("sqrt", 2.0), ("none", 1.0)])
def test_larger_batches_have_the_learning_rate_that_the_file_names(kind: Any, times: float) -> None:
    spec = Training.model_validate(
        {"optimizer": {"learning_rate": 0.01}, "scaling": {"factor": 4, "learning_rate": kind}}
    )
    assert learning_rate_at(make_optimizer(spec, 10)) == pytest.approx(0.01 * times)
    warming = spec.model_copy(update={"schedule": Schedule(warmup_epochs=1)})
    assert float(schedule(warming, 10)(9)) == pytest.approx(0.01 * times)  # type: ignore[operator]


def test_a_keras_that_would_add_gradients_up_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """N devices would train with N times the gradient, and nobody would notice under Adam."""
    owner = next(each for each in keras.optimizers.Adam.__mro__ if "_all_reduce_sum_gradients" in vars(each))
    monkeypatch.delattr(owner, "_all_reduce_sum_gradients")
    with pytest.raises(EnvironmentFault, match=r"adds gradients up otherwise than 3\.15; install keras 3\.15"):
        make_optimizer(Training(), 10)
