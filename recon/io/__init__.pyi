from .acquisitions import Acquisitions as Acquisitions
from .acquisitions import assemble as assemble
from .converting import convert as convert
from .errors import FormatError as FormatError
from .images import load_image as load_image
from .pulseq import PulseqSequence as PulseqSequence
from .pulseq import read_sequence as read_sequence
from .raw_file import RawFile as RawFile
from .reading import formats as formats
from .reading import load as load
from .reading import open_raw as open_raw
from .writing import check_writable as check_writable
from .writing import save as save

__all__ = [
    "Acquisitions",
    "FormatError",
    "PulseqSequence",
    "RawFile",
    "assemble",
    "check_writable",
    "convert",
    "formats",
    "load",
    "load_image",
    "open_raw",
    "read_sequence",
    "save",
]
