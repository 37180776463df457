"""The configurations that come along are found by name; a file of the user's own wins."""

from pathlib import Path

import pytest

from deeplab_lightning import packaged_files
from deeplab_lightning.config_words import config_files, read_config
from deeplab_lightning.errors import ConfigError
from deeplab_lightning.packaged_files import find_file

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("v3plus", "configs/v3plus.yaml"),
        ("v3plus.yaml", "configs/v3plus.yaml"),
        ("configs/v3plus.yaml", "configs/v3plus.yaml"),
        ("paper/v3plus_resnet101_voc", "configs/paper/v3plus_resnet101_voc.yaml"),
        ("data/camvid", "configs/data/camvid.yaml"),
        ("sweeps/v3plus.yaml", "sweeps/v3plus.yaml"),
    ],
)
def test_a_packaged_file_has_a_name(name: str, file: str) -> None:
    assert find_file(name) == REPOSITORY / file
    assert config_files(["fit", "-c", name, f"--config={name}"]) == [REPOSITORY / file] * 2


def test_a_file_of_that_path_wins(empty_folder: Path) -> None:
    own = empty_folder / "configs" / "v3plus.yaml"
    own.parent.mkdir()
    own.write_text("seed_everything: 3\n")
    assert find_file("configs/v3plus.yaml").resolve() == own
    assert find_file("v3plus") == REPOSITORY / "configs" / "v3plus.yaml", "a name is not a path"
    Path("v3plus").write_text("seed_everything: 4\n")
    assert read_config(find_file("v3plus")) == {"seed_everything": 4}


def test_a_folder_of_that_name_is_no_file() -> None:
    Path("v3plus").mkdir()
    assert find_file("v3plus") == REPOSITORY / "configs" / "v3plus.yaml"


def test_a_mistyped_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"paper/v3plus_resnet101_vok does not exist. Did you mean 'paper/v3plus_r"):
        read_config(find_file("paper/v3plus_resnet101_vok"))


def test_a_wheel_has_them_within_the_package(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = empty_folder / "site" / "deeplab_lightning"
    inside = package / "configs" / "v3.yaml"
    inside.parent.mkdir(parents=True)
    inside.touch()
    monkeypatch.setattr(packaged_files, "__file__", str(package / "packaged_files.py"))
    assert find_file("v3") == inside
    assert find_file("v3plus") == Path("v3plus"), "those of the repository are none of the wheel's"
