"""Which of the host's names the adapter uses, and whether a host's source tree has them; nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("modules", "backend")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.AST


@dataclass(frozen=True)
class Use:
    """One mention: a module and a dotted name in it ("" for the module alone), and how it is called, if it is."""

    module: str
    name: str
    where: str
    positional: int | None = None
    keywords: tuple[str, ...] = field(default=())


def _dotted(node: ast.AST) -> list[str] | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else None


class _Collector(ast.NodeVisitor):
    def __init__(self, where: str, roots: tuple[str, ...]) -> None:
        self.where, self.roots = where, roots
        self.known: dict[str, tuple[str, str]] = {}
        self.uses: list[Use] = []

    def _is_host(self, module: str) -> bool:
        return module.split(".", maxsplit=1)[0] in self.roots

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if self._is_host(alias.name):
                self.known[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0],
                    "",
                )
                self.uses.append(Use(alias.name, "", f"{self.where}:{node.lineno}"))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None or not self._is_host(node.module):
            return
        for alias in node.names:
            self.known[alias.asname or alias.name] = (node.module, alias.name)
            self.uses.append(Use(node.module, alias.name, f"{self.where}:{node.lineno}"))

    def _use(self, node: ast.AST, call: ast.Call | None = None) -> None:
        dotted = _dotted(node)
        if dotted is None or dotted[0] not in self.known:
            return
        module, name = self.known[dotted[0]]
        full = ".".join([*([name] if name else []), *dotted[1:]])
        if (
            call is None
            or any(isinstance(a, ast.Starred) for a in call.args)
            or any(k.arg is None for k in call.keywords)
        ):
            self.uses.append(Use(module, full, f"{self.where}:{node.lineno}"))  # type: ignore[attr-defined]
        else:
            keywords = tuple(k.arg for k in call.keywords if k.arg)
            self.uses.append(Use(module, full, f"{self.where}:{call.lineno}", len(call.args), keywords))

    def visit_Call(self, node: ast.Call) -> None:
        self._use(node.func, node)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._use(node)
        self.generic_visit(node)


def uses_in(files: list[Path], roots: tuple[str, ...]) -> list[Use]:
    """Every use, in these files, of top-level packages `roots`; an import anywhere in a file counts for all of it."""
    found: list[Use] = []
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        collector = _Collector(path.name, roots)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                collector.visit_Import(node)
            elif isinstance(node, ast.ImportFrom):
                collector.visit_ImportFrom(node)
        for statement in tree.body:
            collector.visit(statement)
        found += collector.uses
    return list(dict.fromkeys(found))


class HostTree:
    """A host's source: the folders that hold its package `modules`, searched in order."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self._trees: dict[Path, ast.Module] = {}

    def module(self, name: str) -> ast.Module | None:
        bases = [folder.joinpath(*name.split(".")) for folder in self.folders]
        for path in (path for base in bases for path in (base.with_suffix(".py"), base / "__init__.py")):
            if path.is_file():
                if path not in self._trees:
                    self._trees[path] = ast.parse(path.read_text(encoding="utf-8"))
                return self._trees[path]
        return ast.Module([], []) if any(base.is_dir() for base in bases) else None

    def _statements(self, body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for statement in body:
            yield statement
            for part in ("body", "orelse", "finalbody", "handlers"):
                if isinstance(statement, (ast.If, ast.Try, ast.With)):
                    for inner in getattr(statement, part, []):
                        yield from self._statements(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])

    def find(self, module: str, name: str) -> Definition | None:
        """What defines `name` in `module`; imports inside the host and attributes of classes are followed.

        What a name is bound to beyond that (`shared.opts.data`) is taken on trust.
        """
        tree = self.module(module)
        if tree is None or not name:
            return tree
        first, _, rest = name.partition(".")
        if self.module(f"{module}.{first}") is not None and not self._local(tree, first):
            return self.find(f"{module}.{first}", rest)
        for statement in self._statements(tree.body):
            found = self._bound(statement, module, first)
            if found is None:
                continue
            if isinstance(found, tuple):
                return self.find(found[0], ".".join(x for x in (found[1], rest) if x))
            return self._attribute(found, module, rest) if rest else found
        return self._property_of_module(tree, first)

    def _local(self, tree: ast.Module, name: str) -> bool:
        return any(isinstance(self._bound(s, "", name), (ast.FunctionDef, ast.ClassDef)) for s in tree.body)

    def _bound(self, statement: ast.stmt, module: str, name: str) -> Definition | tuple[str, str] | None:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return statement if statement.name == name else None
        if isinstance(statement, ast.ImportFrom) and statement.module:
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    return (statement.module, alias.name) if statement.module.startswith(PACKAGES) else statement
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                if (alias.asname or alias.name.split(".")[0]) == name:
                    inside = alias.name.startswith(PACKAGES) and alias.asname
                    return (alias.name, "") if inside else statement
        elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
            return statement if name in names else None
        elif isinstance(statement, (ast.Global,)) and name in statement.names:
            return statement
        return None

    def _attribute(self, node: Definition, module: str, name: str) -> Definition | None:
        if not isinstance(node, ast.ClassDef):
            return node
        first, _, rest = name.partition(".")
        for statement in self._statements(node.body):
            if isinstance(found := self._bound(statement, module, first), ast.AST):
                return self._attribute(found, module, rest) if rest else found
        for inner in ast.walk(node):
            if (
                isinstance(inner, ast.Attribute)
                and isinstance(inner.ctx, ast.Store)
                and _dotted(inner) == ["self", first]
            ):
                return inner
        for base in node.bases:
            dotted = _dotted(base)
            parent = self.find(module, ".".join(dotted)) if dotted else None
            if isinstance(parent, ast.ClassDef) and (found_in := self._attribute(parent, module, name)) is not None:
                return found_in
        return None

    def _property_of_module(self, tree: ast.Module, name: str) -> Definition | None:
        """`shared.sd_model` and the like: a property of the class that a module gives itself."""
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == name and node.decorator_list:
                return node
        return None

    def signature(self, module: str, name: str) -> ast.arguments | None:
        """Parameters of a function, or of a class's `__init__`; None for what has none that could be read."""
        found = self.find(module, name)
        if isinstance(found, ast.ClassDef):
            found = self._attribute(found, module, "__init__")
        if not isinstance(found, ast.FunctionDef) or _is_property(found):
            return None
        return found.args


def _is_property(function: ast.FunctionDef) -> bool:
    return any(isinstance(x, ast.Name) and x.id == "property" for x in function.decorator_list)


def call_fits(arguments: ast.arguments, use: Use) -> bool:
    """Whether a call with so many positional arguments and these keywords is possible."""
    names = parameters(arguments)
    keyword_only = [a.arg for a in arguments.kwonlyargs]
    assert use.positional is not None
    if use.positional > len(names) and arguments.vararg is None:
        return False
    if arguments.kwarg is None and not set(use.keywords) <= {*names, *keyword_only}:
        return False
    required = names[: len(names) - len(arguments.defaults)]
    return set(required) <= {*names[: use.positional], *use.keywords}


def parameters(arguments: ast.arguments) -> list[str]:
    """Names of what may be given by position, `self` and `cls` left out."""
    return [a.arg for a in [*arguments.posonlyargs, *arguments.args] if a.arg not in ("self", "cls")]
