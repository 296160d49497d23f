from .center import center_of_rotation as center_of_rotation
from .corrections import line_integrals as line_integrals
from .fbp import fbp as fbp
from .fdk import fdk as fdk
from .filters import ramp_filter as ramp_filter
from .hounsfield import from_hounsfield as from_hounsfield
from .hounsfield import to_hounsfield as to_hounsfield
from .noise import simulate_counts as simulate_counts
