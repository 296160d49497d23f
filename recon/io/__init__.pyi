from .acquisitions import Acquisitions as Acquisitions
from .acquisitions import assemble as assemble
from .errors import FormatError as FormatError
from .images import load_image as load_image
from .raw_file import RawFile as RawFile
from .reading import formats as formats
from .reading import load as load
from .reading import open_raw as open_raw
from .writing import check_writable as check_writable
from .writing import save as save

__all__ = [
    "Acquisitions",
    "FormatError",
    "RawFile",
    "assemble",
    "check_writable",
    "formats",
    "load",
    "load_image",
    "open_raw",
    "save",
]
