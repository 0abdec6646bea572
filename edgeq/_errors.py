"""Every exception EdgeQ raises on purpose.

EdgeQError
  UsageError              the call or the command line is wrong
  PackageError            a package folder: manifest, weights, card
    FormatError             bytes do not follow the format
    IntegrityError          hash or signature does not match
    NotFoundError           no such model, revision or file
  HubError                the Hub does not answer, or refuses
  DeviceError             a board or phone
    NoReplyError            nothing arrived in time
    RefusedError            the device answered with an error
  CompileError            a graph or module cannot be lowered
  UnsupportedError        valid, but this backend, target or machine cannot run it
    NoRoomError             the device has too little memory for it
  StoreError              the results store cannot be read or written
  EnergyError             an energy sensor cannot be read
  FinetuneError           a run of the tuning module failed; the base stays in use
"""


class EdgeQError(Exception):
    """Base of everything below; its text is one line that says what to do. `exit_code` is the CLI's."""

    exit_code = 1


class UsageError(EdgeQError):
    """The call or the command line is wrong: unknown name, bad combination of options, ambiguous device."""

    exit_code = 2


class PackageError(EdgeQError):
    """A model package cannot be used."""

    exit_code = 3


class FormatError(PackageError):
    """The bytes do not follow the format."""


class IntegrityError(PackageError):
    """The file is not the one that was signed."""


class NotFoundError(PackageError):
    """No such model, revision or file in the places that were searched."""


class HubError(EdgeQError):
    """The Hub cannot be reached, dropped the connection, or refused."""

    exit_code = 4


class DeviceError(EdgeQError):
    """A device cannot be reached or used."""

    exit_code = 5


class NoReplyError(DeviceError):
    """Nothing arrived in time."""


class RefusedError(DeviceError):
    """The device understood the request and answered with an error frame."""


class CompileError(EdgeQError):
    """A graph or a module cannot be lowered to the target."""

    exit_code = 6


class UnsupportedError(EdgeQError):
    """Valid, but this backend, target or machine cannot run it."""

    exit_code = 7


class NoRoomError(UnsupportedError):
    """The device has too little memory for it."""


class StoreError(EdgeQError):
    """The results store cannot be read or written."""

    exit_code = 8


class EnergyError(EdgeQError):
    """An energy sensor is absent or cannot be read."""

    exit_code = 9


class FinetuneError(EdgeQError):
    """A run of the tuning module failed: NaN from the network, a storage that fails, the journal of another run."""
