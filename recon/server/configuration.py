"""What a client asks for: a method and its options, by name, by words or by JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..io.mrd_messages import PIXEL_KINDS

# Names that clients of other servers send where they have no wish of their own.
_NO_WISH = ("", "default", "null")
_FILES = ("weights", "prior")  # options that name files
_OWN = ("method", "config", "options", "pixels", "save", "token")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0", "")


@dataclass(frozen=True)
class Configuration:
    """What a session is to do.

    Parameters
    ----------
    method, options
        Of the reconstruction.
    pixels
        Kind of pixels of the images, one of `PIXEL_KINDS`.
    save
        Whether the raw data are to be saved.
    token
        What the client knows the server by.
    """

    method: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)
    pixels: str = "float"
    save: bool = False
    token: str = field(default="", repr=False)

    def within(self, models: Path | None) -> Configuration:
        """The same with names of networks as files of the server's folder of models.

        Raises
        ------
        ValueError
            A name that is none of the folder's files: clients reach no others.
        """
        options = dict(self.options)
        for name in _FILES:
            if name in options:
                options[name] = _model(name, options[name], models)
        return Configuration(self.method, options, self.pixels, self.save, self.token)


def configuration(text: str) -> Configuration:
    """Read a configuration.

    Three ways to say the same: ``sense``, a file name such as ``sense.xml`` included; words,
    ``sense iterations=20 pixels=uint16 save=true``; and JSON, ``{"method": "sense", "options":
    {"iterations": 20}, "pixels": "uint16", "save": true}``. OpenRecon's and FIRE's JSON with
    ``"parameters": {"config": "sense", "iterations": "20"}`` is read too.

    Raises
    ------
    ValueError
        JSON that says something else, words without ``=``, another kind of pixels.
    """
    text = text.strip("\0 \r\n\t")
    if text.startswith("<"):
        raise ValueError(
            "the configuration is XML, as for Gadgetron's chains: name a method instead, such as "
            'sense, or give JSON, {"method": "sense", "options": {"iterations": 20}}'
        )
    found = _from_json(text) if text.startswith("{") else _from_words(text)
    method = str(found.pop("method", None) or found.pop("config", None) or "")
    found.pop("config", None)
    method = method.rsplit("/", 1)[-1].removesuffix(".xml").removesuffix(".json")
    pixels = str(found.pop("pixels", "float"))
    if pixels not in PIXEL_KINDS:
        raise ValueError(f"pixels must be one of {', '.join(PIXEL_KINDS)}, got {pixels!r}")
    save, token = _truth(found.pop("save", False)), str(found.pop("token", ""))
    options = {name.replace("-", "_"): value for name, value in found.items()}
    return Configuration("auto" if method in _NO_WISH else method, options, pixels, save, token)


def _from_json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the configuration is no JSON: {error}") from None
    if "parameters" in found:
        found = found["parameters"]
        if not isinstance(found, dict):
            raise ValueError(f'"parameters" must be a table, got {found!r:.100}')
        # Consoles send every parameter of their card as text; an empty one is not set.
        found = {name: value for name, value in found.items() if value not in ("", None)}
        more = _from_words(f"- {found.pop('options', '')}")
        return {**more, "method": "", **found}
    unknown = sorted(set(found) - set(_OWN))
    if unknown:
        raise ValueError(
            f"the configuration has {', '.join(map(repr, unknown))}, expected {', '.join(_OWN)}"
        )
    options = found.pop("options", {})
    if not isinstance(options, dict):
        raise ValueError(f'"options" must be a table, got {options!r:.100}')
    return {**options, **found}


def _from_words(text: str) -> dict[str, Any]:
    method, *words = text.split() or [""]
    if "=" in method:
        method, words = "", [method, *words]
    found: dict[str, Any] = {"method": method}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise ValueError(f"the configuration has {word!r}, expected NAME=VALUE")
        found[name] = value
    return found


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in (*_TRUE, *_FALSE):
        raise ValueError(f"save must be true or false, got {value!r}")
    return str(value).lower() in _TRUE


def _model(option: str, name: Any, models: Path | None) -> str:
    if models is None:
        raise ValueError(f"{option}: this server has no networks, it was started without --models")
    files = sorted(path.name for path in models.iterdir() if path.is_file())
    if name not in files:
        raise ValueError(f"{option}={name!r}: this server has {', '.join(files) or 'none'}")
    return str(models / name)
