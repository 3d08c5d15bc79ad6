"""The floor plan and the library walls, as tables, checked on the source."""

import ast
from pathlib import Path

import bucketscribe

ROOT = Path(__file__).parent.parent
ROOMS = ROOT / "functions" / "bucketscribe"

# From the ground up. A room imports only from floors below its own, never sideways, never up.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"model", "errors"}),
    frozenset({"ports"}),
    frozenset({"layout"}),
    frozenset({"canvas", "containment", "open_documents", "processes", "storage_session"}),
    frozenset({"images"}),
    frozenset(
        {
            "budget",
            "clock",
            "crew",
            "document_cache",
            "logs",
            "markdown",
            "messages",
            "published",
            "quality",
            "records",
            "render",
            "settings",
            "turns",
            "warm_up",
        }
    ),
    frozenset({"storage", "publisher", "identity", "lightonocr_client", "render_pool"}),
    frozenset({"manuscript"}),
    frozenset({"jobs", "ledger", "notes", "publication", "rejects"}),
    frozenset({"asking", "drawing", "completion", "patience", "reopen"}),
    frozenset({"finish"}),
    frozenset({"fan_out", "transcribe", "give_up", "forget", "redo", "strays"}),
    frozenset({"resume"}),
)

# A library and the rooms that may import it; `google.auth.exceptions` is what the other walls may raise too.
WALLS: dict[str, frozenset[str]] = {
    "google.cloud.storage": frozenset({"storage"}),
    "google.cloud.pubsub_v1": frozenset({"publisher"}),
    "google.pubsub_v1": frozenset({"publisher"}),
    "google.auth": frozenset({"identity", "storage", "storage_session", "publisher"}),
    "google.oauth2": frozenset({"identity"}),
    "httpx": frozenset({"identity", "lightonocr_client"}),
    "requests": frozenset({"storage", "storage_session", "identity"}),
    "pebble": frozenset({"processes"}),
    "pypdfium2": frozenset({"render", "open_documents"}),
    "pikepdf": frozenset({"render"}),
    "PIL": frozenset({"canvas", "images"}),
    "msgspec": frozenset({"messages", "published", "records"}),
    "functions_framework": frozenset(),
    "starlette": frozenset(),
}


def imports(path: Path) -> set[str]:
    """List the dotted names a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_imported(path: Path) -> set[str]:
    prefix = "bucketscribe."
    names = {name.removeprefix(prefix) for name in imports(path) if name.startswith(prefix)}
    return {name.split(".")[0] for name in names} - {"__version__"}


def rooms() -> dict[str, Path]:
    return {path.stem: path for path in ROOMS.glob("*.py") if path.stem != "__init__"}


def test_every_room_stands_on_exactly_one_floor():
    placed = [room for floor in FLOORS for room in floor]
    assert sorted(placed) == sorted(rooms())


def test_rooms_import_only_from_floors_below_their_own():
    for level, floor in enumerate(FLOORS):
        below = frozenset().union(*FLOORS[:level])
        for room in floor:
            assert rooms_imported(rooms()[room]) <= below, room


def test_each_library_has_its_wall():
    for room, path in rooms().items():
        for library, allowed in WALLS.items():
            crossed = [name for name in imports(path) if f"{name}.".startswith(f"{library}.")]
            assert not crossed or room in allowed, f"{room} imports {crossed}"


def test_no_room_knows_of_the_laptop():
    for path in [*rooms().values(), ROOT / "functions" / "main.py"]:
        source = path.read_text()
        assert not rooms_imported(path) & {"infra", "gpu_service", "tests"}
        for word in ("EMULATOR", "infra.", "gpu_service", "stand_in"):
            assert word not in source, f"{path.name} mentions {word}"


def test_only_the_doors_catch_everything():
    for room, path in rooms().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                reraises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                everything = caught in {"everything", "Exception", "BaseException"}
                assert not everything or reraises, f"{room} catches {caught}"


def test_only_layout_joins_object_names():
    for room, path in rooms().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr) and room != "layout":
                text = ast.unparse(node)
                for kind in ("documents/", "pages/", "jobs/", "notes/", "rejected/"):
                    assert kind not in text, f"{room} joins {text}"


def test_the_map_names_every_room():
    for room in rooms():
        assert room in (bucketscribe.__doc__ or ""), room


def test_importing_the_doors_reads_no_environment_and_starts_nothing():
    source = (ROOT / "functions" / "main.py").read_text()
    calls = [node for node in ast.parse(source).body if isinstance(node, ast.Expr | ast.Assign)]
    assert all("environ" not in ast.unparse(node) for node in calls)
