"""What can go wrong with pixels, drawn as a tree.

::

    VsrError                     everything this package raises on purpose
    ├── UnknownModelError        no network of that name, or none trained for that scale
    ├── PixelError               an array whose shape, type or range is not what the call takes
    ├── DeviceError              a device or precision that this machine does not have
    ├── WeightsError             a weight file that is missing, damaged or of another network
    ├── DataError                training or test images that cannot be used
    └── ConfigError              a setting that does not exist or has an impossible value

A message says what came, what is allowed and what to try, in one line.
"""


class VsrError(Exception):
    """The root of this package's errors."""


class UnknownModelError(VsrError):
    """No network of that name, or none trained for that scale."""


class PixelError(VsrError):
    """An array whose shape, type or range is not what the call takes."""


class DeviceError(VsrError):
    """A device or precision that this machine does not have."""


class WeightsError(VsrError):
    """A weight file that is missing, damaged or of another network."""


class DataError(VsrError):
    """Training or test images that cannot be used."""


class ConfigError(VsrError):
    """A setting that does not exist or has an impossible value."""
