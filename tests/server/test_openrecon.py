"""The package for OpenRecon: its label by the public rules, its card as the server reads it."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import spinray as sr
from spinray.recon.server.configuration import configuration

FOLDER = Path(__file__).parents[2] / "deploy" / "openrecon"
RULES = json.loads(Path(__file__).with_name("openrecon_rules.json").read_text())
LABEL = json.loads((FOLDER / "label.json").read_text())


def test_the_label_is_as_the_rules_say() -> None:
    jsonschema.Draft7Validator.check_schema(RULES)
    jsonschema.validate(LABEL, RULES)
    assert LABEL["general"]["version"] == sr.__version__


@pytest.mark.parametrize(
    "spoil",
    [
        lambda label: label["reconstruction"]["transfer_protocol"].update(version="2.0.0"),
        lambda label: label["parameters"][1].update(id="my_options"),
        lambda label: label["parameters"][0].pop("default"),
        lambda label: label["parameters"].extend(
            {**LABEL["parameters"][1], "id": f"more{i}"} for i in range(12)
        ),
        lambda label: label.update(extra=1),
        lambda label: label["general"]["regulatory_information"].pop("udi"),
    ],
)
def test_the_rules_notice_what_consoles_refuse(spoil: Any) -> None:
    label = copy.deepcopy(LABEL)
    spoil(label)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(label, RULES)


def test_every_choice_of_the_card_is_understood() -> None:
    """Consoles send all parameters, empty ones too."""
    card = {parameter["id"]: parameter["default"] for parameter in LABEL["parameters"]}
    known = {"auto", *(method.name for method in sr.methods("mri"))}
    for parameter in LABEL["parameters"]:
        values = parameter.get("values", [{"id": parameter["default"]}])
        choices = [value["id"] for value in values]
        assert parameter["default"] in choices
        for choice in choices:
            wish = configuration(json.dumps({"parameters": {**card, parameter["id"]: choice}}))
            assert wish.method in known
            assert wish.options == {}
    more = {**card, "config": "sense", "options": "iterations=40 regularization=0.05"}
    wish = configuration(json.dumps({"version": "1.1.0", "parameters": more}))
    assert (wish.method, wish.pixels) == ("sense", "uint16")
    assert wish.options == {"iterations": "40", "regularization": "0.05"}


def test_the_image_listens_where_the_label_says() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    port = str(LABEL["reconstruction"]["port"])
    assert f"EXPOSE {port}" in text
    command = json.loads(re.findall(r"^CMD (\[.*\])$", text, re.M)[0])
    assert command[:2] == ["spinray", "serve"]
    assert command[command.index("--port") + 1] == port
    assert command[command.index("--host") + 1] == "0.0.0.0"
    assert "openrecon.metadata:1.1.0" in text
    assert re.search(
        r"^ARG BASE=docker.io/library/python:3\.\d+-slim-\w+\nFROM \$\{BASE\}$", text, re.M
    )
    assert 'test -n "$TORCH_INDEX"' in text  # torch without CUDA: the checker refuses it
