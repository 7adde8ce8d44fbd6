"""Packaging of retfm_dist; tool settings are in pyproject.toml, versions in constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "retfm_dist" / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)


class BuildWithConfigs(build_py):
    """Put the shipped configs into the package, where an installed command finds them."""

    def run(self) -> None:
        """Build the modules, then copy configs/*.yaml beside them."""
        super().run()
        if self.editable_mode:
            return  # a checkout has them in configs/
        folder = Path(self.build_lib) / "retfm_dist" / "configs"
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((HERE / "configs").glob("*")):
            self.copy_file(str(path), str(folder / path.name))


setup(
    cmdclass={"build_py": BuildWithConfigs},
    name="retfm-dist",
    version=VERSION,
    description="Pre-train retinal foundation models and show what their pre-training data did",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["retfm_dist", "retfm_dist.*"]),
    package_data={"retfm_dist": ["py.typed", "**/*.j2", "**/*.css", "**/*.json"]},
    install_requires=[
        "deepspeed==0.19.8",  # exact: numeric defaults change between its patch releases
        "fsspec>=2024.2",
        "jaxtyping>=0.3",
        "jinja2>=3.1",
        "matplotlib>=3.9",
        "mlflow>=3.11",  # earlier ones have known remote code execution holes
        "numpy>=2.0",
        "nvidia-dali-cuda130>=2.4,<3",  # CUDA 12 drivers: see README, "CUDA 12"
        "pandas>=2.2",
        "pillow>=11.3",
        "pyarrow>=18",
        "pydantic>=2.10",
        "pyyaml>=6.0",
        "rich>=13",
        "safetensors>=0.5",
        "scikit-learn>=1.5",
        "scipy>=1.13",
        "simplejpeg>=1.9",
        "timm>=1.0.12",
        "torch>=2.10",  # earlier ones have a memory corruption in weights_only loading
        "torchvision>=0.25",
        "typer>=0.15",
        "typing_extensions>=4.12",
        "webdataset>=1.0",
    ],
    extras_require={
        "s3": ["s3fs>=2024.2"],  # shard sets in S3; other stores need their own library of fsspec
        "dev": [
            "beartype>=0.20",
            "codespell>=2.3",
            "moto[server]>=5",  # an S3 server on loopback
            "pre-commit>=4",
            "psutil>=6",
            "pyright[nodejs]>=1.1.400",
            "pytest>=8.3",
            "pytest-cov>=6",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.12",
            "s3fs>=2024.2",
            "transformers>=4.50",  # loads an export in a test, as its users do
        ],
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
