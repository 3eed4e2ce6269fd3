"""Names and plugins."""

import importlib
import re
import sys
from dataclasses import dataclass

import pytest

from harness.api.attack import attack, attacks
from harness.api.errors import CodeFailed, HarnessError, NameTaken, UnknownName
from harness.api.method import Method, method, methods
from harness.api.model import models
from harness.api.registry import Registry
from harness.library.doctor import examine
from harness.plugins import code_of, import_file, load_plugins


def test_a_misspelt_name_is_answered_with_the_nearest():
    names: Registry[object] = Registry("method")
    names.add("trades")(object())
    with pytest.raises(UnknownName, match=r"unknown method 'tardes'. Did you mean 'trades'\? Known: trades"):
        names["tardes"]


def test_a_name_taken_twice_names_both_owners():
    names: Registry[type] = Registry("method")

    class First:
        pass

    class Second:
        pass

    names.add("x")(First)
    names.add("x")(First)  # the same object again is no conflict
    with pytest.raises(NameTaken, match=r"method 'x' is defined twice, by .*First and by .*Second"):
        names.add("x")(Second)


PLUGIN = '''
from harness.api.model import models

@models.add("{name}")
def build(num_classes, inputs):
    """A model of one's own."""
{broken}
'''


def test_a_plugin_file_registers_its_names(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(PLUGIN.format(name="own-model", broken=""))
    load_plugins([file])
    load_plugins([file])  # a second time changes nothing
    assert "own-model" in models


OLD_PLUGIN = """
from dataclasses import dataclass
from harness.attacks.base import Proposal, Views, ascend, attack
from harness.method import LossTerms, Method, Paper, Step, method

@method("old-method")
@dataclass(frozen=True, kw_only=True)
class Old(Method):
    summary = "written for version 0.1"

    def loss(self, model, x, y, threat, step):
        raise ValueError
"""


def test_a_plugin_written_for_version_0_1_still_loads(tmp_path):
    """The paths of its imports are kept."""
    file = tmp_path / "old.py"
    file.write_text(OLD_PLUGIN)
    load_plugins([file])
    assert "old-method" in methods


CODE = """
{head}
from harness.api.model import models

@models.add("{name}")
def build(num_classes, inputs):
    {doc}
    return {value}
"""


def test_code_is_what_computes(tmp_path):
    """A comment or a docstring more is the same code; another number is not."""
    code = {}
    for number, (head, doc, value) in enumerate([("", "pass", 1), ("# why", '"""Doc."""', 1), ("", "pass", 2)]):
        (tmp_path / str(number)).mkdir()
        file = tmp_path / str(number) / "own.py"
        file.write_text(CODE.format(head=head, name="own", doc=doc, value=value))
        before = models.snapshot()
        load_plugins([file])
        code[number] = code_of(models["own"])
        models.restore(before)
    assert code[0] == code[1] != code[2]
    assert code_of(models["resnet18"]) is None


def test_a_broken_plugin_file_is_an_error_that_names_it(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(PLUGIN.format(name="other", broken="1 / 0"))
    with pytest.raises(HarnessError, match=r"broken.py does not import: ZeroDivisionError"):
        load_plugins([file])


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ("sys.exit()", ""),
        ("sys.exit(0)", ": 0"),
        ("sys.exit('no GPU')", ": no GPU"),
        ("parser.parse_args(['-x'])", ": 2"),
    ],
)
def test_a_file_that_ends_the_program_is_an_error_that_names_it(tmp_path, ends, status):
    """Such as a script that reads its arguments: nobody takes it for a success."""
    file = tmp_path / "script.py"
    file.write_text(f"import argparse, sys\nparser = argparse.ArgumentParser()\n{ends}\n")
    said = r"model file .*script.py ends the program: put .* under if __name__ == '__main__': SystemExit"
    with pytest.raises(CodeFailed, match=f"{said}{status}$"):
        import_file(file, "model")


NEIGHBOURLY = """
from colorsys import rgb_to_hsv
from layers_beside import LAYERS

def later():
    import found_later
    return found_later.VALUE
"""


def test_a_file_imports_what_lies_beside_it_and_no_neighbour_hides_an_installed_package(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, text in (("layers_beside", "LAYERS = 3"), ("found_later", "VALUE = 5"), ("colorsys", "1 / 0")):
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "net.py").write_text(NEIGHBOURLY)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    for _ in range(2):
        module = import_file(tmp_path / "net.py", "model")
    assert (module.LAYERS, module.later(), module.rgb_to_hsv(0, 0, 1)[2]) == (3, 5, 1)
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == str(tmp_path)
    for name in ("layers_beside", "found_later"):
        sys.modules.pop(name)


def test_a_missing_plugin_file_is_an_error(tmp_path):
    with pytest.raises(HarnessError, match="does not exist"):
        load_plugins([tmp_path / "nowhere.py"])


def test_a_plugin_file_cannot_take_a_built_in_name(tmp_path):
    file = tmp_path / "thief.py"
    file.write_text(PLUGIN.format(name="resnet18", broken=""))
    with pytest.raises(NameTaken, match=r"model 'resnet18' is defined twice, by harness.models.resnet"):
        load_plugins([file])


@dataclass
class Fine(Method):
    summary = "sound"

    def loss(self, model, x, y, threat, step): ...


def undecorated():
    """The hyperparameter would be no field."""

    @method("bad")
    class Bad(Fine):
        beta: float = 1.0


def other_order():
    @dataclass
    @method("bad")
    class Bad(Fine):
        beta: float = 1.0


def underived():
    @method("bad")
    @dataclass
    class Bad:
        summary = "no Method"


def without_a_loss():
    @method("bad")
    @dataclass
    class Bad(Method):
        summary = "abstract"


def without_a_default():
    @method("bad")
    @dataclass
    class Bad(Fine):
        beta: float


def without_a_summary():
    @method("bad")
    @dataclass
    class Bad(Method):
        def loss(self, model, x, y, threat, step): ...


def without_a_name():
    @method
    class Bad(Fine):
        pass


def with_a_comma():
    @method("a,b")
    @dataclass
    class Bad(Fine):
        pass


def uncallable():
    @attack("bad")
    @dataclass
    class Bad:
        summary = "no __call__"


@pytest.mark.parametrize(
    ("register", "said"),
    [
        (undecorated, "is no dataclass: write @dataclass(frozen=True, kw_only=True) right above the class"),
        (other_order, "is no dataclass: write @dataclass(frozen=True, kw_only=True) right above the class"),
        (underived, "is not derived from harness.api.method.Method: write class MyMethod(Method)"),
        (without_a_loss, "does not define loss()"),
        (without_a_default, "has no default for its parameter 'beta'"),
        (without_a_summary, "has no summary: write summary ="),
        (
            without_a_name,
            'a method is registered under a name without spaces, commas, brackets and @, as in @method("my',
        ),
        (with_a_comma, "got 'a,b'"),
        (uncallable, "is no class whose objects can be called"),
    ],
)
def test_what_could_not_be_used_is_refused_where_it_is_registered(register, said):
    """In one sentence that says what would be right, and nothing is registered."""
    with pytest.raises(HarnessError, match=re.escape(said)) as found:
        register()
    assert "\n" not in str(found.value)
    assert not {"bad", "a,b"} & {*methods, *attacks}


@pytest.mark.parametrize("broken", ["", "1 / 0"])
def test_an_installed_third_party_plugin_is_loaded_or_reported_and_skipped(tmp_path, monkeypatch, caplog, broken):
    """A real distribution on the path, found through its entry point; a broken one leaves no names behind.

    Every command says so in one line, and the doctor fails on it.
    """
    module = "third_party_broken" if broken else "third_party_fine"
    (tmp_path / f"{module}.py").write_text(PLUGIN.format(name=module, broken=broken))
    info = tmp_path / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[harness.plugins]\n{module} = {module}\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    load_plugins()
    said = f"plugin {module!r} of package {module!r} is broken: ZeroDivisionError: division by zero"
    assert caplog.messages == ([f"{said}; it is skipped: mend or uninstall it"] if broken else [])
    plugins = next(seen for seen in examine(tmp_path, tmp_path) if seen.name == "plugins")
    assert (plugins.state, said in plugins.text) == (("fail", True) if broken else ("ok", False))
    assert (module in models) == (not broken)
    sys.modules.pop(module, None)
