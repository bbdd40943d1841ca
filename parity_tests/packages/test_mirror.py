"""The packages mirror one another: compared as source text, without importing any of them.

Files that begin with `_` belong to a single framework, and so do layers that
only one framework needs. Everything else must match.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = "inception_np"
PACKAGES = ("inception_np", "inception_pt", "inception_tf", "inception_mx")
FRAMEWORKS = PACKAGES[1:]
TRAINING = "training.py"  # the oracle has no backward pass
MODULE = "module.py"  # the oracle's; the frameworks have their own class for it
LAYERS = ("layers.py", "pools.py")
ALIKE = (
    "drawn",
    "refusal",
    "require_classes",
    "require_half",
    "require_heads",
    "require_known",
    "require_match",
    "require_momentum",
    "require_not_negative",
    "require_pixels",
    "require_positive",
    "require_run",
    "require_settings",
    "require_share",
    "require_shares",
    "require_weight",
)  # identical wherever they appear

against_reference = pytest.mark.parametrize("package", FRAMEWORKS)


def files(package):
    return sorted(
        path.name for path in (ROOT / package).glob("*.py") if path.name == "__init__.py"
        or not path.name.startswith("_")
    )  # fmt: skip


SHARED = [name for name in files(REFERENCE) if name != MODULE]
LAYER_FILES = [name for name in SHARED if name in LAYERS]
# One file per source, with its blocks and its network.
APART = ("__init__.py", "preprocessing.py", "pretrained.py", "weights.py")
TRAINED_WITH = ("losses.py", "optimizers.py")
NETWORK = "network.py"  # the base class of all networks
SOURCES = [name for name in SHARED if name not in (*LAYERS, *TRAINED_WITH, *APART, NETWORK)]
PAIRS = list(itertools.combinations(PACKAGES, 2))
shared_files = pytest.mark.parametrize("file", SHARED)
source_files = pytest.mark.parametrize("file", SOURCES)
layer_files = pytest.mark.parametrize("file", LAYER_FILES)
training_files = pytest.mark.parametrize("file", TRAINED_WITH)
pairs = pytest.mark.parametrize("pair", PAIRS, ids="-".join)


@functools.cache
def tree(package, file):
    return ast.parse((ROOT / package / file).read_text())


def classes(package, file):
    return {node.name: node for node in tree(package, file).body if isinstance(node, ast.ClassDef)}


def functions(package, file):
    nodes = tree(package, file).body
    return {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}


def constants(package, file):
    """Return the upper-case names that a file assigns, with their values."""
    return {
        node.targets[0].id: ast.unparse(node.value)
        for node in tree(package, file).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.isupper()
    }


def assigned(package, file):
    """Return every name that a file defines at its top level or re-exports from its package."""
    names = set(classes(package, file)) | set(functions(package, file))
    for node in tree(package, file).body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and node.level:
            names |= {alias.name for alias in node.names}
    return names


def signature(function):
    """Return (kind, name, default) of every argument; **kwargs and a vararg's name are free.

    `params` too: PyTorch's optimisers are told at once what they train.
    """
    args = function.args
    positional = [a for a in args.posonlyargs + args.args if a.arg != "params"]
    defaults = [None] * (len(positional) - len(args.defaults)) + args.defaults
    found = [("positional", a.arg, d) for a, d in zip(positional, defaults, strict=True)]
    if args.vararg:
        found.append(("vararg", "", None))
    found += [("keyword", a.arg, d) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return [(kind, name, d and ast.unparse(d)) for kind, name, d in found]


def constructor(node):
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return item
    return None


def layer_calls(node):
    """Return every call that creates a layer or a block, in order, as text."""
    layers = set().union(*(classes(REFERENCE, f) for f in SOURCES + LAYER_FILES))
    calls = [
        call
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in layers
        and call.func.id != "Sequential"  # its contents are compared one by one
    ]
    return [ast.unparse(call) for call in sorted(calls, key=lambda c: (c.lineno, c.col_offset))]


def channels_first(text):
    """Rewrite the (N, H, W, C) of a shape comment as (N, C, H, W)."""
    inner = r"((?:[^,()\[\]]|\[[^\]]*\]|\([^()]*\))+)"
    swapped = re.sub(rf"\(N, (H'?|1), (W'?|1), {inner}\)", r"(N, \3, \1, \2)", text)
    swapped = re.sub(r"\(N, (\*\w+), (\w+)\)", r"(N, \2, \1)", swapped)
    return re.sub(r"[ \n]+", " ", swapped)


def docstring(node):
    return channels_first(ast.get_docstring(node) or "")


def section(text, title):
    """Return a section of a docstring, up to the next one or the end."""
    found = re.search(rf"{title}: (.*?)(?= (?:Args|Shape|Returns|Raises):|$)", text)
    return found and found[1]


@against_reference
def test_packages_have_the_same_files(package):
    assert [name for name in files(package) if name != TRAINING] == SHARED


def test_frameworks_all_train_or_none_does():
    assert len({TRAINING in files(package) for package in FRAMEWORKS}) == 1


@against_reference
def test_packages_have_the_same_public_names(package):
    public = [ast.literal_eval(all_of(name)) for name in (REFERENCE, package)]
    training = functions_and_classes_of_training(package)
    assert [name for name in public[1] if name not in training] == public[0]


def all_of(package):
    for node in tree(package, "__init__.py").body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return node.value
    raise AssertionError(f"{package} has no __all__")


def functions_and_classes_of_training(package):
    return assigned(package, TRAINING) if TRAINING in files(package) else set()


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_sorted_and_are_what_is_imported(package):
    public = ast.literal_eval(all_of(package))
    imported = [
        alias.name
        for node in tree(package, "__init__.py").body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(public) == sorted(imported)
    assert public == sorted(public, key=in_order)


def in_order(name):
    """Sort constants, classes and functions apart, and Block8 before Block17."""
    natural = re.sub(r"\d+", lambda digits: digits[0].zfill(4), name)
    return name.islower(), not name.isupper(), natural


@against_reference
@source_files
def test_source_has_the_same_classes_in_the_same_order(package, file):
    assert list(classes(package, file)) == list(classes(REFERENCE, file))


@against_reference
@source_files
def test_source_has_the_same_functions_in_the_same_order(package, file):
    public = [[n for n in functions(p, file) if n[0] != "_"] for p in (REFERENCE, package)]
    assert public[1] == public[0]


@against_reference
@shared_files
def test_constants_are_the_same(package, file):
    """PyTorch's momentum is the weight of the new statistics; the others' is that of the old."""
    expected, found = constants(REFERENCE, file), constants(package, file)
    if package == "inception_pt" and "BN_MOMENTUM" in found:
        found["BN_MOMENTUM"] = str(1 - float(found["BN_MOMENTUM"]))
    shared = (set(expected) & set(found)) - {"__all__"}
    assert {n: found[n] for n in shared} == {n: expected[n] for n in shared}


@pytest.mark.parametrize("package", PACKAGES)
@source_files
def test_layers_that_a_source_uses_are_defined_in_every_package(package, file):
    for node in tree(REFERENCE, file).body:
        if isinstance(node, ast.ImportFrom) and f"{node.module}.py" in LAYERS:
            used = {alias.name for alias in node.names} - {"Array", "Module"}  # the oracle's own
            assert used - assigned(package, f"{node.module}.py") == set()


@pairs
@layer_files
def test_layers_stand_in_the_same_order(pair, file):
    first, second = (list(classes(package, file)) for package in pair)
    assert [n for n in first if n in second] == [n for n in second if n in first]


@pairs
@pytest.mark.parametrize("file", [name for name in SHARED if name != "weights.py"])
def test_constructors_have_the_same_arguments(pair, file):
    first, second = (classes(package, file) for package in pair)
    for name in first.keys() & second.keys():
        constructors = constructor(first[name]), constructor(second[name])
        if None not in constructors:
            assert signature(constructors[1]) == signature(constructors[0]), name


@against_reference
@source_files
def test_source_classes_have_constructors_in_every_package(package, file):
    """The comparison of arguments must not leave any of them out."""
    found = {name: constructor(node) is not None for name, node in classes(package, file).items()}
    assert found == {n: constructor(c) is not None for n, c in classes(REFERENCE, file).items()}


@against_reference
@pytest.mark.parametrize("function", ["get_weights", "set_weights", "require_match"])
def test_weight_functions_have_the_same_arguments(package, function):
    found, expected = (functions(p, "weights.py")[function] for p in (package, REFERENCE))
    assert signature(found) == signature(expected)


@against_reference
@source_files
def test_tables_of_channels_are_the_same(package, file):
    found, expected = (layer_calls(tree(p, file)) for p in (package, REFERENCE))
    assert found == expected


@source_files
def test_tables_of_channels_are_found(file):
    """Comparing two empty tables would prove nothing."""
    assert len(layer_calls(tree(REFERENCE, file))) > 10


def attributes(node):
    """Return the attributes that a constructor assigns, in order: they are the shared names."""
    targets = [
        (item.lineno, item.targets[0].attr)
        for item in ast.walk(constructor(node))
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Attribute)
    ]
    return [name for _, name in sorted(targets) if name not in ("options", "built")]


@against_reference
@source_files
def test_shared_names_are_the_same(package, file):
    for name, node in classes(package, file).items():
        if constructor(node) is not None:
            assert attributes(node) == attributes(classes(REFERENCE, file)[name]), name


@against_reference
@source_files
def test_shape_comments_are_the_same(package, file):
    comments = [
        re.findall(r"\S  # (.*)", (ROOT / p / file).read_text()) for p in (package, REFERENCE)
    ]
    assert comments[0] == comments[1]


@against_reference
@source_files
def test_docstrings_are_the_same_but_for_the_order_of_axes(package, file):
    assert docstring(tree(package, file)) == docstring(tree(REFERENCE, file))
    for name, node in classes(package, file).items():
        assert docstring(node) == docstring(classes(REFERENCE, file)[name]), name


@against_reference
@source_files
def test_networks_say_alike_where_their_parts_are(package, file):
    found, expected = (
        {
            (name, item.targets[0].id): ast.unparse(item.value)
            for name, node in classes(p, file).items()
            for item in node.body
            if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name)
        }
        for p in (package, REFERENCE)
    )
    assert found == expected
    networks = [
        n for n, c in classes(package, file).items() if "Network" in map(ast.unparse, c.bases)
    ]
    assert {name for name, attribute in found if attribute == "classifier"} == set(networks)


@against_reference
def test_networks_have_the_same_methods_arguments_and_docstrings(package):
    found, expected = (methods(p, "Network", NETWORK) for p in (package, REFERENCE))
    extra = {"heads_run"} if package == "inception_mx" else set()
    assert [name for name in found if name not in extra] == list(expected)
    for name, node in expected.items():
        assert signature(found[name]) == signature(node), name
        assert docstring(found[name]) == docstring(node), name
    texts = [docstring(classes(p, NETWORK)["Network"]) for p in (package, REFERENCE)]
    assert texts[0] == texts[1]


@against_reference
@training_files
def test_losses_and_optimisers_are_the_same_and_have_constructors(package, file):
    found, expected = (
        {n: constructor(c) is not None for n, c in classes(p, file).items() if n != "CoupledDecay"}
        for p in (package, REFERENCE)
    )
    assert found == expected
    assert all(expected.values())


@against_reference
@training_files
def test_losses_and_optimisers_describe_arguments_and_formulas_alike(package, file):
    """An optimiser's docstring gives its formulas before its source."""
    for name, node in classes(REFERENCE, file).items():
        texts = [docstring(node), docstring(classes(package, file)[name])]
        texts[1] = re.sub(r" params: .*? (?=lr: )", " ", texts[1])
        assert section(texts[1], "Args") == section(texts[0], "Args"), name
        assert section(texts[1], "Raises") == section(texts[0], "Raises"), name
        formulas = [re.findall(r"<- .*? Source:", text) for text in texts]
        assert formulas[1] == formulas[0], name


def methods(package, name, file=TRAINING):
    """Return a class of a package's file, its training loop's by default: {public method: node}."""
    body = classes(package, file)[name].body
    nodes = [node for node in body if isinstance(node, ast.FunctionDef)]
    return {n.name: n for n in nodes if not n.name.startswith("_") or n.name == "__init__"}


PYTORCHS_OWN = ("autocast", "channels_last")


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_training_has_the_same_methods_arguments_and_docstrings(package):
    found, expected = methods(package, "Training"), methods("inception_pt", "Training")
    assert list(found) == list(expected)
    for name, node in found.items():
        arguments = [a for a in signature(expected[name]) if a[1] not in PYTORCHS_OWN]
        assert [a for a in signature(node) if a[1] not in PYTORCHS_OWN] == arguments, name
        assert docstring(node) == docstring(expected[name]), name
    texts = [docstring(classes(p, TRAINING)["Training"]) for p in (package, "inception_pt")]
    assert texts[0].partition(" autocast:")[0] == texts[1].partition(" autocast:")[0]


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_training_has_the_same_functions(package):
    ours, torchs = functions(package, TRAINING), functions("inception_pt", TRAINING)
    assert [name for name in ours if name in torchs] == list(torchs)
    assert ast.unparse(ours["seed_of_step"]) == ast.unparse(torchs["seed_of_step"])


@pairs
@layer_files
def test_layers_describe_arguments_and_shapes_alike(pair, file):
    first, second = (classes(package, file) for package in pair)
    for name in first.keys() & second.keys():
        texts = docstring(first[name]), docstring(second[name])
        for title in ("Args", "Shape"):
            if all(section(text, title) for text in texts):
                assert section(texts[1], title) == section(texts[0], title), f"{name} {title}"


@against_reference
@pytest.mark.parametrize("function", ALIKE)
def test_checks_are_the_same_to_the_letter(package, function):
    texts = []
    for p in (package, REFERENCE):
        for file in SHARED:
            if function in functions(p, file):
                text = (ROOT / p / file).read_text()
                texts.append((file, ast.get_source_segment(text, functions(p, file)[function])))
    assert len(texts) == 2
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("keras", "torch"),
    [
        ("(N, H, W, C)", "(N, C, H, W)"),
        ("(N, 1, 1, C)", "(N, C, 1, 1)"),
        ("(N, H', W', out_channels), H' = (H + 2 p)", "(N, out_channels, H', W'), H' = (H + 2 p)"),
        ("(N, H, W, c1 + c2[1] + c4)", "(N, c1 + c2[1] + c4, H, W)"),
        ("(N, H, W, f(c) + 2)\n  out", "(N, f(c) + 2, H, W) out"),
        ("(N, *output_size, C)", "(N, C, *output_size)"),
        ("(N, num_classes), logits", "(N, num_classes), logits"),
    ],
)
def test_channels_first_moves_the_channels(keras, torch):
    assert channels_first(keras) == channels_first(torch) == torch
