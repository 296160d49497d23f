from .dispatch import choose as choose
from .dispatch import reconstruct as reconstruct
from .many import FilesError as FilesError
from .many import reconstruct_many as reconstruct_many
from .registry import Method as Method
from .registry import methods as methods
