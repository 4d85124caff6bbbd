"""The list of faults fits the code: `make mutants` can plant each of them."""

import re

import pytest

from tests.mutants.run import ROOT, Fault, load_faults

FAULTS = load_faults()


def test_every_fault_has_a_name_of_its_own():
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted_and_its_test_exists(fault):
    assert fault.plant() != (ROOT / fault.file).read_text()
    for test in fault.tests:
        file, _, function = test.partition("::")
        name = function.partition("[")[0]
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize(("original", "found"), [("y", 0), ("x", 2)])
def test_a_fault_whose_text_has_gone_is_named(tmp_path, original, found):
    (tmp_path / "code.py").write_text("x = 1\nx = 2\n")
    fault = Fault("wrong x", "code.py", original, "z", ())
    with pytest.raises(ValueError, match=f"'wrong x': original .*code.py, got {found}"):
        fault.plant(tmp_path)


def test_a_fault_that_is_no_program_is_refused(tmp_path):
    (tmp_path / "code.py").write_text("x = 1\n")
    with pytest.raises(SyntaxError):
        Fault("half a line", "code.py", "1", "", ()).plant(tmp_path)
