"""placeholder, owned by the CT helper"""


class Geometry: ...


class VolumeGrid: ...
