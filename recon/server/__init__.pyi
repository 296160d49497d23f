from . import client as client
from .client import ServerError as ServerError
from .client import send as send
from .server import Server as Server
from .server import Settings as Settings
from .stream import Stream as Stream
