"""What an import of the schemas costs: the light parts stay light, models are built when first used."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", ["reference", "units", "names", "errors", "field_path"])
def test_what_the_runtime_and_the_command_line_share_imports_no_pydantic(module: str) -> None:
    assert run(f"import sys, schemas.{module}; print('pydantic' in sys.modules)").strip() == "False"


def test_a_model_is_built_when_it_is_first_used() -> None:
    code = (
        "from schemas.spec_models import SPEC_MODELS\n"
        "from schemas.container import ContainerSpec\n"
        "from schemas.field import effect_of, fields_of\n"
        "built = lambda: [model.__name__ for model in SPEC_MODELS.values() if model.__pydantic_complete__]\n"
        "fields_of(ContainerSpec), effect_of(ContainerSpec, ('ports',)), print(built())\n"
        "ContainerSpec.model_validate({'image': 'a'}), print(built())\n"
    )
    assert run(code).splitlines() == ["[]", "['ContainerSpec']"]


def test_all_models_together_cost_little() -> None:
    code = (
        "import time\n"
        "from schemas.spec_models import SPEC_MODELS\n"
        "[model.model_rebuild() for model in SPEC_MODELS.values()]\n"
        "print(time.process_time())\n"
    )
    least = min(float(run(code)) for _ in range(3))
    assert least < 0.45, "seconds of processor, the interpreter's own start included; 0.15 on a quiet machine"
