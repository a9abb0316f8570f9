"""More steps than a model was trained on are refused before anything is sampled, wherever steps are given."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import DataError, UsageError
from benchmark.testbeds.resolve import load
from methods.base import configure
from methods.esd import Esd
from methods.sampling import Sampler, make_scheduler
from methods.sampling_steps import most_steps


@pytest.mark.parametrize("scheduler", ["pndm", "ddim"])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_steps_are_limited_by_the_timesteps_of_the_model(scheduler: str, spacing: str) -> None:
    config = {"num_train_timesteps": 20, "beta_schedule": "scaled_linear", "timestep_spacing": spacing}
    most = most_steps(config)
    assert most == (19 if spacing == "leading" else 20)
    for steps in range(1, most + 1):
        times = make_scheduler(config, Sampler(scheduler=scheduler, steps=steps)).timesteps
        assert 0 <= int(times.min()) <= int(times.max()) < 20
    for steps in (most + 1, 500):
        with pytest.raises(UsageError, match=f"sampled in at most {most} steps, not in {steps}: choose fewer"):
            make_scheduler(config, Sampler(scheduler=scheduler, steps=steps))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("steps = 1000", "This model can be sampled in at most 999 steps, not in 1000: choose fewer steps."),
        ('steps = 5000\nscheduler = "ddim"', "at most 999 steps"),
        ("size = 72", "size = 72 is not possible; this model needs a multiple of 64 pixels"),
    ],
)
def test_settings_that_the_model_does_not_allow_are_refused_by_every_command(
    line: str, message: str, tiny: Path, tmp_path: Path
) -> None:
    path = tiny.parent / "changed.toml"
    path.write_text(f'like = "tiny.toml"\n{line}\n')
    with pytest.raises(DataError, match=message):
        load(str(path))()
    examined = CliRunner().invoke(app, ["doctor", "--testbed", str(path), "--runs", str(tmp_path)])
    (model,) = (row for row in examined.stdout.splitlines() if row[2:].startswith("model "))
    assert (examined.exit_code, model[0], message in model) == (1, "✗", True)
    command = ["estimate", "--method", "uce", "--suite", "artists", "--on", "H100", "--testbed", str(path)]
    estimated = CliRunner().invoke(app, command)
    assert (estimated.exit_code, message in estimated.stderr) == (2, True), estimated.output


def test_steps_of_a_methods_setting_are_limited_before_training() -> None:
    with pytest.raises(UsageError, match="setting 'steps': Input should be less than or equal to 999"):
        configure(Esd, steps="1000")
