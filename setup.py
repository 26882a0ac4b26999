"""What pyproject.toml cannot say: a wheel also holds the shipped configurations, which lie beside the package in the repository."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigurations(build_py):
    """Copies the configurations in `experiments/` into the package, where `grasper.shipped` finds them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # then they are found where they lie
            return
        for pattern in ("*.yaml", "models/*.yaml", "align/*.yaml"):
            for source in sorted(Path("experiments").glob(pattern)):
                target = Path(self.build_lib, "grasper", source)
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))


setup(cmdclass={"build_py": BuildWithConfigurations})
