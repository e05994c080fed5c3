"""Where the weights of a backbone come from: a file, Keras's cache, the registry; and that they are the right ones."""

import contextlib
import hashlib
import http.server
import importlib
import threading
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from parak8s import files, loading, provenance
from parak8s.calibration import Calibration
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import FineTune, Tracking
from parak8s.models import backbones, classifier, imagenet, saved
from parak8s.parts import parts
from parak8s.steps.ingest import ingest
from parak8s.steps.pretrained import at_hand, pinned
from parak8s.steps.train import train
from parak8s.tracking import connection, registry
from transfer_case import assert_same_weights, built, experiment, images, inside, sha256

DATA = f"sha256:{'a' * 64}"
MOBILENET = "mobilenet_1_0_224_tf_no_top.h5"

# -------------------------------------------------------------------------------------------------- weights of a file


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """A network, and a folder with it in a calibrated model, its backbone as Keras saves it, and its weights."""
    folder, network = tmp_path_factory.mktemp("stored"), built()
    raw = keras.Input((32, 32, 1), dtype="uint8")
    model = keras.Model(raw, network(keras.layers.Rescaling(1.0, dtype="float32")(raw)))
    classifier.calibrated(model, Calibration("temperature", 10, temperature=2.0)).save(folder / "model.keras")
    inside(network).save(folder / "backbone.keras")
    inside(network).save_weights(folder / "backbone.weights.h5")
    network.save_weights(folder / "whole.weights.h5")
    return network, folder


@pytest.mark.parametrize("name", ["model.keras", "backbone.keras", "backbone.weights.h5"])
def test_the_backbone_begins_with_the_weights_of_a_file_also_at_another_size(
    stored: tuple[keras.Model, Path], name: str
) -> None:
    network, file = stored[0], stored[1] / name
    again = built(side=48, seed=2, weights=str(file), weights_digest=sha256(file))
    assert_same_weights(inside(again), inside(network))
    assert not inside(again).trainable
    assert backbones.weights_digest(again) == sha256(file)


def test_the_backbone_of_a_file_takes_on_the_precision_of_this_training(stored: tuple[keras.Model, Path]) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        again = built(weights=str(stored[1] / "model.keras"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in inside(again).layers if layer.weights} == {"bfloat16"}
    assert {weight.dtype for weight in inside(again).weights} == {"float32"}


@pytest.mark.parametrize("name", ["model.keras", "backbone.weights.h5", "whole.weights.h5"])
def test_weights_of_something_else_are_refused(stored: tuple[keras.Model, Path], name: str) -> None:
    wanted = "MobileNet" if name == "whole.weights.h5" else "VGG16"
    with pytest.raises(InputError, match=rf"{name}: (holds no|not the weights of) {wanted} without its head"):
        built(wanted, weights=str(stored[1] / name))


def test_a_file_that_is_not_there_or_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*nowhere\.keras"):
        built(weights=str(tmp_path / "nowhere.keras"))
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(InputError, match=r"text\.keras: not a model that Keras saved"):
        built(weights=str(tmp_path / "text.keras"))


def test_a_pin_refuses_other_weights_and_none_at_all(stored: tuple[keras.Model, Path]) -> None:
    other = f"sha256:{'0' * 64}"
    with pytest.raises(InputError, match=rf"not the weights that .*weights_digest pins: expected {other}, got sha256"):
        built(weights=str(stored[1] / "backbone.keras"), weights_digest=other)
    with pytest.raises(InputError, match="weights: none come from no file; take weights_digest away"):
        built(weights_digest=other)


def test_the_fingerprint_and_the_part_of_train_depend_on_what_is_in_the_file(tmp_path: Path) -> None:
    file, names, texts = tmp_path / "w.keras", [], []
    for content in (b"one", b"two"):
        file.write_bytes(content)
        point = pinned(experiment(f"model.params.weights={file}"))
        assert point.model.params["weights_digest"] == sha256(file)
        names.append(provenance.fingerprint(point, DATA))
        texts.append(parts(point, DATA))
    assert names[0] != names[1]
    assert texts[0]["ingest"] == texts[1]["ingest"]
    assert texts[0]["train"] != texts[1]["train"]
    with pytest.raises(InputError, match="pins: expected"):
        pinned(experiment(f"model.params.weights={file}", f"model.params.weights_digest=sha256:{'0' * 64}"))
    assert pinned(experiment()) == experiment()


def test_fine_tuning_is_part_of_what_train_depends_on() -> None:
    plain, tuned = (parts(experiment(*each), DATA) for each in ((), ["training.fine_tune={layers: 9}"]))
    assert [name for name in plain if plain[name] != tuned[name]] == ["train", "calibrate", "evaluate"]


# ---------------------------------------------------------------------------------------------------------- ImageNet


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's folder of weights, empty; the way to the network is closed."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def published(file: Path, backbone: str = "MobileNet", seed: int = 1) -> keras.Model:
    """Write weights as Keras publishes them, in its old format; return their network."""
    keras.utils.set_random_seed(seed)
    network = getattr(keras.applications, backbone)(include_top=False, weights=None, input_shape=(32, 32, 3))
    network.save(file)
    return network


def test_without_a_network_the_message_says_which_file_goes_where(cache: Path) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        built(weights="imagenet")
    assert f"put the file {MOBILENET} from https://" in str(caught.value)
    assert f"into {cache} " in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_file_in_the_cache_is_used_and_remembered_and_another_one_refused(cache: Path) -> None:
    theirs, file = published(cache / MOBILENET), cache / MOBILENET
    network = built(weights="imagenet", seed=5)
    assert_same_weights(inside(network), theirs)
    assert backbones.weights_digest(network) == sha256(file)
    assert (cache / f"{MOBILENET}.sha256").read_text() == f"{sha256(file)[7:]}  {MOBILENET}\n"
    first = sha256(file)
    published(file, seed=2)
    with pytest.raises(InputError, match=rf"has the digest {sha256(file)}, but had {first} when it was first used"):
        built(weights="imagenet")
    with pytest.raises(InputError, match=f"pins: expected {first}, got {sha256(file)}"):
        built(weights="imagenet", weights_digest=first)


@pytest.mark.parametrize("broken", [True, False])
def test_a_file_that_broke_off_or_of_another_network_is_named_and_not_remembered(cache: Path, broken: bool) -> None:
    published(cache / MOBILENET, "MobileNet" if broken else "VGG16")
    whole = (cache / MOBILENET).read_bytes()
    (cache / MOBILENET).write_bytes(whole[: len(whole) // 2] if broken else whole)
    with pytest.raises(InputError, match=f"{MOBILENET}: cannot be read .*; delete it, and it is fetched again"):
        built(weights="imagenet")
    assert [file.name for file in cache.iterdir()] == [MOBILENET]


def test_a_file_that_is_not_the_published_one_is_refused_and_left_alone(cache: Path) -> None:
    file = cache / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    file.write_text("mine")
    with pytest.raises(InputError, match=f"{file}: md5 .*, but Keras publishes"):
        built("VGG16", weights="imagenet")
    assert file.read_text() == "mine"


def test_what_keras_adds_for_imagenet_goes_along_when_the_model_is_learned_from(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(file := cache / "efficientnetb0_notop.h5", "EfficientNetB0")
    theirs = importlib.import_module("keras.src.applications.efficientnet")
    monkeypatch.setitem(theirs.WEIGHTS_HASHES, "b0", ("", hashlib.md5(file.read_bytes()).hexdigest()))
    network = built("EfficientNetB0", weights="imagenet")
    network.save(cache / "first.keras")
    again = built("EfficientNetB0", seed=2, weights=str(cache / "first.keras"))
    scaled = np.repeat(images(), 3, axis=-1)
    np.testing.assert_array_equal(inside(again)(scaled), inside(network)(scaled))
    assert sum(isinstance(layer, keras.layers.Rescaling) for layer in inside(again).layers) == 2


@contextlib.contextmanager
def serving(content: bytes, length: int) -> Iterator[str]:
    """Serve ``content``, of which is said that it has ``length`` bytes, and yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/w.h5"
    finally:
        server.shutdown()
        server.server_close()


def test_a_download_arrives_whole_and_as_published_or_not_at_all(cache: Path) -> None:
    content = b"weights" * 1000
    with serving(content, len(content)) as address:
        imagenet._download(address, cache / "w.h5", hashlib.md5(content).hexdigest())
        assert (cache / "w.h5").read_bytes() == content
        with pytest.raises(InputError, match="but Keras publishes"):
            imagenet._download(address, cache / "other.h5", "0" * 32)
    with serving(content, len(content) + 1) as address, pytest.raises(EnvironmentFault, match=r"put the file half\.h5"):
        imagenet._download(address, cache / "half.h5", None)
    assert [file.name for file in cache.iterdir()] == ["w.h5"]


# --------------------------------------------------------------------------------------------------- the registry


def test_a_registered_model_gives_its_backbone_and_history_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    point = experiment("model.params.weights=models:/chests@champion", f"tracking.uri={uri}")
    with pytest.raises(InputError, match="no MLflow database"):
        pinned(point)
    network = built(seed=4)
    raw = keras.Input((32, 32, 1), dtype="uint8")
    keras.Model(raw, keras.layers.Softmax()(network(keras.layers.Rescaling(1.0, dtype="float32")(raw)))).save("m.keras")
    client = connection.connect(uri)
    with connection.reaching(uri):
        run = client.create_run("0")
        tags = {registry.DIGEST_TAG: sha256(Path("m.keras"))}  # as registry.log_model does, without the exported graph
        logged = client.create_logged_model("0", "classifier", run.info.run_id, tags=tags)
        Path("logged").mkdir()
        Path("logged/model.keras").write_bytes(Path("m.keras").read_bytes())
        client.log_model_artifacts(logged.model_id, "logged")
        client.finalize_logged_model(logged.model_id, "READY")
        registry.register(client, run, "chests", "champion")

    point = pinned(point)
    assert point.model.params["weights"] == "models:/chests/1"
    assert point.model.params["weights_digest"] == sha256(Path("m.keras"))
    with at_hand(point) as spec:
        assert sha256(Path(spec.params["weights"])) == sha256(Path("m.keras"))
        assert_same_weights(inside(built(**spec.params)), inside(network))
    assert not Path(spec.params["weights"]).exists()
    cut = loading.parse(parts(point, DATA)["train"], "train")  # a pod knows where the registry is
    assert cut.tracking == Tracking(uri=uri)

    quick = point.training.model_copy(update={"epochs": 1, "fine_tune": FineTune(layers=4, epochs=1)})
    point = point.model_copy(update={"training": quick})
    for folder in (dataset := tmp_path / "dataset", training := tmp_path / "training"):
        folder.mkdir()
    ingest(point, dataset)
    train(point, dataset, training)
    history = files.read_json(training / "history.json")
    assert history["pretrained"] == {"weights": "models:/chests/1", "digest": sha256(Path("m.keras"))}
    assert [epoch["stage"] for epoch in history["epochs"]] == [1, 2]
    kept = inside(saved.load(training / "model.keras").get_layer("transfer"))
    same = [
        np.array_equal(new, old) for new, old in zip(kept.get_weights(), inside(network).get_weights(), strict=True)
    ]
    assert same.count(False) == 1  # of the top layers one convolution learns: batch normalization does not

    with pytest.raises(InputError, match=r"no model 'chest' at .*; did you mean 'chests'"):
        pinned(experiment("model.params.weights=models:/chest/1", f"tracking.uri={uri}"))
    version = client.create_model_version("chests", str(tmp_path), run.info.run_id)
    with pytest.raises(InputError, match="not registered by ParaK8s, so it does not say which weights it holds"):
        pinned(experiment(f"model.params.weights=models:/chests/{version.version}", f"tracking.uri={uri}"))
