"""The command line: what it prints, its exit codes, and what it does not load."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from parak8s import __version__, errors, loading, run
from parak8s.schema import json_schema
from terminal import Terminal

ROOT = Path(__file__).parents[1]
ECG = str(ROOT / "experiments" / "ecg.yaml")
BROKEN = Path(__file__).parent / "broken_experiments"
MINIMAL = "name: x\ndata: {loader: ecg, source: 'synthetic://ecg'}\nmodel: {builder: deep_cnn}\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(MINIMAL)
    return Terminal(monkeypatch, capsys)


def test_help_names_every_command(terminal: Terminal) -> None:
    commands = (
        *("run", "step", "validate", "schema", "diff", "show", "report", "plan", "compile", "submit"),
        *("distribute", "tune", "manifest"),
    )
    assert terminal("--help") == 0
    assert [line.split()[0] for line in terminal.out.partition("Commands:\n")[2].splitlines()] == list(commands)
    for command in commands:
        assert terminal(command, "--help") == 0
        assert terminal.out.startswith(f"Usage: parak8s {command}")


def test_version_is_that_of_the_package(terminal: Terminal) -> None:
    assert terminal("--version") == 0
    assert terminal.out == f"parak8s {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runn"], "No such command 'runn'"),
        (["run"], "Missing argument"),
        (["run", "a.yaml", "b.yaml"], "unexpected extra argument"),
        (["validate", "--bogus", "x.yaml"], "No such option: --bogus"),
        (["run", "x.yaml", "-s"], "requires an argument"),
        (["step"], "Missing argument"),
        ([], "Usage: parak8s"),
    ],
)
def test_a_wrong_usage_is_explained_and_exits_with_2(terminal: Terminal, arguments: list[str], said: str) -> None:
    assert terminal(*arguments) == 2
    assert said in terminal.err
    assert "This is a bug" not in terminal.err
    assert terminal.out == ""


def test_an_unknown_step_is_refused_with_the_nearest(terminal: Terminal) -> None:
    assert terminal("step", "trani", "x.yaml") == 2
    assert terminal.err == (
        "parak8s: no step 'trani'; did you mean 'train'? "
        "allowed: calibrate, evaluate, gate, ingest, register, train, trial\n"
    )  # fmt: skip


def test_validate_says_what_is_valid(terminal: Terminal) -> None:
    assert terminal("validate", "x.yaml", ECG) == 0
    assert terminal.out == f"x.yaml: valid (x: ecg, deep_cnn)\n{ECG}: valid (ecg: ecg, deep_cnn)\n"
    assert terminal.err == ""


def test_validate_goes_on_after_a_broken_file_and_reports_each(terminal: Terminal) -> None:
    Path("a.yaml").write_text(MINIMAL + "seed: -1\ncolour: red\n")
    Path("b.yaml").write_text(MINIMAL + "seed: x\n")
    assert terminal("validate", "a.yaml", "x.yaml", "b.yaml", "missing.yaml", ".") == 2
    assert terminal.out == "x.yaml: valid (x: ecg, deep_cnn)\n"
    assert [line for line in terminal.err.splitlines() if line.startswith("parak8s: ")] == [
        "parak8s: a.yaml: 2 mistakes",
        "parak8s: b.yaml: 1 mistake",
        "parak8s: missing.yaml: no such file",
        "parak8s: .: a folder; name the experiment file in it",
    ]
    assert "  line 4: seed: must be at least 0, got -1\n  line 5: colour: no such key; allowed: " in terminal.err


@pytest.mark.parametrize("command", ["validate", "run", "diff", "step"])
def test_every_command_refuses_a_broken_file_alike(terminal: Terminal, command: str) -> None:
    broken = str(BROKEN / "unknown_keys.yaml")
    arguments = {"diff": ["x.yaml", broken], "step": ["train", broken]}.get(command, [broken])
    assert terminal(command, *arguments) == 2
    assert terminal.err.startswith(
        f"parak8s: {broken}: 9 mistakes\n  line 2: epochs: no such key; did you mean training"
    )
    assert [str(path) for path in Path().iterdir()] == ["x.yaml"]


def test_the_whole_broken_corpus_is_refused_without_a_traceback(terminal: Terminal) -> None:
    paths = [str(path) for path in sorted(BROKEN.glob("*.yaml"))]
    assert len(paths) >= 30
    assert terminal("validate", *paths) == 2
    assert terminal.out == ""
    assert terminal.err.count("parak8s: ") == len(paths)
    assert "Traceback" not in terminal.err
    assert "bug" not in terminal.err


def test_an_override_is_checked_in_every_file_and_reported_once(terminal: Terminal) -> None:
    assert terminal("validate", "x.yaml", ECG, "-s", "training.epochs=2") == 0
    assert terminal("validate", "x.yaml", ECG, "-s", "training.epochs") == 2
    assert terminal.err == "parak8s: -s training.epochs: expected path=value, such as -s training.epochs=2\n"
    assert terminal("validate", "x.yaml", "--set", "training.epoch=2") == 2
    assert "-s training.epoch=2: training.epoch: no such key; did you mean 'epochs'?" in terminal.err


def test_a_file_that_may_not_be_read_exits_with_1(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, _: object) -> None:
        raise errors.EnvironmentFault(f"{path}: no permission to read")

    monkeypatch.setattr(loading, "load", refuse)
    assert terminal("validate", "x.yaml") == 1
    assert terminal.err == "parak8s: x.yaml: no permission to read\n"


def test_schema_prints_json(terminal: Terminal) -> None:
    assert terminal("schema") == 0
    assert json.loads(terminal.out) == json_schema()


def test_diff_prints_what_differs_and_whether_it_is_another_point(terminal: Terminal) -> None:
    assert terminal("diff", "x.yaml", "x.yaml") == 0
    assert terminal.out == "no difference: the same point\n"
    assert terminal("diff", "x.yaml", "x.yaml", "-s", "name=y", "-s", "gate.auc=>= 0.9") == 0
    assert terminal.out == (
        'name      "x" -> "y"  (fingerprint stays)\n'
        'gate.auc  null -> ">= 0.9"  (fingerprint stays)\n'
        "same fingerprint on the same data\n"
    )  # fmt: skip
    assert (
        terminal("diff", "x.yaml", "x.yaml", "-s", "training.epochs=2", "-s", "data.source=/some/[folder]/x.csv") == 0
    )
    assert terminal.out == (
        'data.source      "synthetic://ecg" -> "/some/[folder]/x.csv"  (fingerprint depends on the data)\n'
        "training.epochs  20 -> 2  (fingerprint changes)\n"
        "another fingerprint: another point of the space\n"
    )


def test_spelling_a_default_out_is_no_difference(terminal: Terminal) -> None:
    assert terminal("diff", "x.yaml", "x.yaml", "-s", "model.params.blocks=5", "-s", "data.batch_size=256") == 0
    assert terminal.out == "no difference: the same point\n"


def test_a_traceback_comes_with_debug_alone(terminal: Terminal) -> None:
    assert terminal("validate", "missing.yaml") == 2
    assert "Traceback" not in terminal.err
    for arguments in (["--debug", "validate", "missing.yaml"], ["validate", "missing.yaml", "--debug"]):
        assert terminal(*arguments) == 2
        assert "Traceback (most recent call last)" in terminal.err
        assert terminal.err.endswith("parak8s: missing.yaml: no such file\n")


def test_a_bug_is_called_one_and_exits_with_1(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(loading, "load", break_down)
    assert terminal("validate", "x.yaml") == 1
    assert terminal.err == (
        "parak8s: ZeroDivisionError: division by zero\nThis is a bug in ParaK8s; --debug shows where.\n"
    )  # fmt: skip
    assert terminal("validate", "x.yaml", "--debug") == 1
    assert "Traceback" in terminal.err


def test_what_the_operating_system_refuses_is_no_bug(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr(run, "run", refuse)
    assert terminal("run", "x.yaml") == 1
    assert terminal.err.startswith("parak8s: /somewhere: no permission")


def test_ctrl_c_says_how_to_go_on_and_exits_with_130(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", interrupt)
    assert terminal("run", "x.yaml") == 130
    assert terminal.err == "parak8s: stopped; the same command goes on from here\n"


def test_data_that_is_not_there_is_bad_input_and_leaves_nothing(terminal: Terminal) -> None:
    assert terminal("run", "x.yaml", "-s", "data.source=missing.csv") == 2
    assert terminal.err.startswith("parak8s: missing.csv: no such file")
    assert [str(path) for path in Path().iterdir()] == ["x.yaml"]


# In processes of their own


def python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


HEAVY = ("tensorflow", "keras", "mlflow", "kfp", "kubernetes", "sklearn", "scipy", "matplotlib", "pyarrow", "wfdb")


@pytest.mark.parametrize("arguments", [["--help"], ["validate", ECG], ["schema"], ["diff", ECG, ECG]])
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from parak8s import cli
sys.argv = ["parak8s", *{arguments!r}]
try:
    cli.main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("loaded:", [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_the_command_line_starts_with_next_to_nothing() -> None:
    done = python("import sys, parak8s.cli; print([name for name in ('yaml', 'numpy', 'rich') if name in sys.modules])")
    assert done.stdout == "[]\n"


def test_the_module_and_the_script_are_the_same_command() -> None:
    command = [sys.executable, "-m", "parak8s.cli", "validate", "missing.yaml"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "parak8s: missing.yaml: no such file\n")


def test_a_reader_that_stops_early_gives_no_traceback() -> None:
    command = f"{sys.executable} -m parak8s.cli schema | head -c 1"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "{"
    assert done.stderr == ""


def test_ctrl_c_reaches_a_running_process() -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it for its children
from parak8s import cli, run
def hang(*_, **__):
    print("ready", flush=True)
    time.sleep(60)
run.run = hang
sys.argv = ["parak8s", "run", sys.argv[1]]
cli.main()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, ECG]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "parak8s: stopped; the same command goes on from here\n"
