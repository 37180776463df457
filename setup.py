"""The part of the build that pyproject.toml has no word for: wheels hold configs/ and sweeps/ within the package."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigurations(build_py):
    """Copies the configurations beside the modules, where `deeplab_lightning.packaged_files` finds them."""

    def run(self) -> None:
        """Build the package, then copy; an editable installation finds them in the repository."""
        super().run()
        if self.editable_mode:
            return
        for folder in ("configs", "sweeps"):
            for file in Path(folder).rglob("*.yaml"):
                target = Path(self.build_lib, "deeplab_lightning", file)
                self.mkpath(str(target.parent))
                self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithConfigurations})
