"""Everything that deletes or moves a file, and what guards it. A new call fails here until it is listed."""

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
ALWAYS = {
    *("rmtree", "unlink", "rmdir", "removedirs", "renames", "truncate"),
    *("mkdtemp", "mkstemp", "TemporaryDirectory", "NamedTemporaryFile"),
    *("remove_if_empty", "remove_unfinished_writes"),
}
OF_MODULES = {"os": {"remove", "rename", "replace"}, "shutil": {"move"}}  # elsewhere these names are others'
SEVERAL_MEANINGS = {"rename", "replace"}  # of a path: one argument; of a text or a table it is another

# of each file: the function, what it calls, and what guards the call
GUARDS_BY_FILE = {
    "store/files/removal.py": [
        ("remove", "rmtree", "check_inside: below a folder of ours, over no symbolic link"),
        ("remove", "unlink", "the same"),
    ],
    "store/artifacts/store.py": [
        ("Store.begin", "remove", "staging folder that this process holds the lock of"),
        ("Store.begin", "remove_if_empty", "only what holds nothing"),
        ("Store._claimed_folder", "remove_if_empty", "only what holds nothing"),
        ("Store._commit", "remove_unfinished_writes", "in a staging folder that this process holds"),
        ("Store._put", "rename", "check_inside before; a folder that is not empty stays"),
        ("Store._put", "remove", "scratch of the new artifact, or own staging"),
        ("Store._clear", "remove", "a folder named as the artifact, that read says is none"),
        ("Store.remove", "remove", "the objects below the name of an artifact of this store"),
        ("Store._remove_folder", "remove", "Catalogue.own: <root>/<kind>/<name>-<id8> of this store"),
        ("Store.discard", "discard", "store/artifacts/leftovers.py"),
        ("Store.make_way", "rename", "an artifact of this store, found by its manifest"),
        ("Store.make_way", "remove", "that artifact, if it is still not whole"),
        ("Store.make_way", "remove_if_empty", "the staging folder of the store"),
        ("_record", "remove", "the manifest of a staging folder that this process holds"),
    ],
    "jobs/hub_cache.py": [
        ("check_bytes", "remove", "a file of the hub's local cache with other bytes than its name says"),
        ("check_bytes", "unlink", "the link to that file"),
    ],
    "store/artifacts/remote_work.py": [
        (
            "RemoteWork.send",
            "remove",
            "Store._remove_here: an artifact of this store, of which another counts",
        ),
    ],
    "store/artifacts/time_spent.py": [
        ("TimeSpent._write", "replace", "a file of its own, onto its own record"),
    ],
    "store/artifacts/visibility.py": [
        ("remove_notes", "remove", "a note of this run's own, below the store's folder of notes"),
        ("remove_notes", "remove_if_empty", "only what holds nothing"),
    ],
    "store/artifacts/sharing.py": [
        (
            "pull",
            "remove",
            "a file in a staging folder that this process holds, of an artifact that is whole",
        ),
    ],
    "store/remote/local_copies.py": [
        ("LocalCopies.make_room", "remove", "a file below the folder of local copies"),
    ],
    "store/remote/progress.py": [
        ("take_over", "remove", "its own mark in a staging folder that this process holds"),
        ("_receive_all", "remove", "a file that it has just received into that folder"),
    ],
    "store/remote/remote.py": [
        ("Remote.remove", "discard", "no file: a name in a set"),
        ("Remote._copy_manifest", "replace", "a file of its own, onto the copy of a manifest"),
    ],
    "store/remote/transfer.py": [
        ("receive_checked", "replace", "a file of its own, onto the path it was asked to write"),
        ("receive_checked", "unlink", "that file of its own"),
    ],
    "store/artifacts/leftovers.py": [
        ("discard", "remove", "_checked: staging, scratch or artifact of this store, no lock"),
        ("discard", "remove_if_empty", "only what holds nothing"),
    ],
    "store/cache/writer.py": [
        ("CacheWriter._write", "remove", "a part in the staging folder, claimed by a lock"),
        ("CacheWriter._write", "rename", "from and to a name in that folder, removed before"),
    ],
    "store/files/locks.py": [
        ("release", "unlink", "the lock file that this process holds, by its inode"),
        (
            "_set_aside",
            "unlink",
            "the lock file of a machine that has not touched it for a lease, by its inode",
        ),
    ],
    "store/files/owners.py": [
        ("_now_on_disk", "unlink", "a file of its own, with a name that no other has"),
    ],
    "store/files/operations.py": [
        ("write_json", "replace", "a file of this write's own, onto the path it was asked to write"),
        ("write_json", "unlink", "that file of its own"),
        ("remove_unfinished_writes", "unlink", "names of write_json's own form, under the caller's lock"),
        ("remove_if_empty", "rmdir", "the system refuses a folder that holds anything"),
    ],
    "store/artifacts/sources.py": [
        ("remember", "remove_unfinished_writes", "under the lock of sources.json"),
    ],
    "analysis/correlation.py": [
        ("_averaged", "rename", "a column"),
        ("_scores", "rename", "a column"),
    ],
    "jobs/models/training.py": [
        ("last_complete_checkpoint", "remove", "checkpoint-N in the job's own scratch"),
    ],
    "jobs/models/placement.py": [
        ("load_spread", "TemporaryDirectory", "a new folder of the system's"),
    ],
    "jobs/models/saving.py": [
        ("StateWriter._write", "remove", "checkpoint-N in the job's own scratch, once a newer is complete"),
        ("_copy_of_state.write", "replace", "a file of its own, onto the name that says it is complete"),
    ],
    "jobs/run/processes.py": [
        ("run_in_processes", "TemporaryDirectory", "a new folder of the system's"),
    ],
    "jobs/run/content.py": [
        ("content_in_place", "TemporaryDirectory", "a new folder of the system's"),
    ],
    "jobs/models/lora.py": [
        ("merge", "mkdtemp", "a new folder in the job's own scratch"),
        ("merge", "rename", "that folder; one that is there and not empty stays"),
        ("merge", "remove", "that folder"),
        ("save_adapter", "remove", "README.md that peft has just written into staging"),
    ],
    "jobs/publishing/publish.py": [
        ("export", "TemporaryDirectory", "a new folder beside --out"),
        ("export", "rename", "refused before if --out is not empty"),
        ("push", "TemporaryDirectory", "a new folder of the system's"),
    ],
    "jobs/cli/generation.py": [
        ("generate_command", "TemporaryDirectory", "a new folder of the system's"),
        ("_answer", "TemporaryDirectory", "a new folder of the system's"),
    ],
    "jobs/cli/cache.py": [
        ("cache_rm", "remove", "Store.locate, then Store.remove"),
    ],
    "jobs/cli/cache_gc.py": [
        ("cache_gc", "remove", "an artifact that Store.list found"),
        ("cache_gc", "discard", "Store.leftovers found it"),
    ],
    "store/files/outputs.py": [
        ("whole_file", "replace", "a file of this write's own, onto the path the user named"),
        ("whole_file", "unlink", "that file of its own"),
        ("whole_folder", "TemporaryDirectory", "a new folder beside --out"),
        ("whole_folder", "rename", "refused before if --out is not empty"),
        ("_parents", "remove_if_empty", "folders made a moment before, if nothing is in them"),
    ],
    "jobs/cli/store.py": [
        ("_recompute", "TemporaryDirectory", "a new folder of the system's"),
    ],
    "jobs/models/capture.py": [
        ("Capture.hooked", "remove", "no file: a hook of a module"),
        ("find_points", "remove", "no file: a hook of a module"),
    ],
    "jobs/suite/results.py": [
        ("without_places", "replace", "no file: a column of a table"),
    ],
}
GUARDS = {
    (file, function, call): guard
    for file, guards in GUARDS_BY_FILE.items()
    for function, call, guard in guards
}
OURS = {"remove", "discard"}  # of the store; a list's and a set's are told apart by who they are called on
COLLECTIONS = {"waiting", "running", "tasks", "_around"}


def called(node):
    """The name of what is called, if it may take something away, else None."""
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    owner = function.value if isinstance(function, ast.Attribute) else None
    module = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", None)
    if name in ALWAYS or name in OF_MODULES.get(module, ()):
        return name
    if name in SEVERAL_MEANINGS and owner is not None:
        return name if len(node.args) == 1 and not node.keywords else None
    return name if name in OURS and module not in COLLECTIONS else None


def calls(path):
    """(file, function, name of the call) of every call in a file that may take something away."""
    found = Counter()

    def visit(node, names):
        if isinstance(node, ast.Call) and called(node):
            found[path.relative_to(ROOT).as_posix(), ".".join(names), called(node)] += 1
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [*names, node.name]
        for child in ast.iter_child_nodes(node):
            visit(child, names)

    visit(ast.parse(path.read_text("utf-8")), [])
    return found


def test_every_call_that_deletes_or_moves_is_listed_with_its_guard():
    files = [path for room in ("store", "analysis", "jobs") for path in (ROOT / room).rglob("*.py")]
    found = set().union(*(calls(path) for path in files))
    assert found - set(GUARDS) == set(), "say what guards these, or call store.removal.remove"
    assert set(GUARDS) - found == set(), "these are gone"


def test_a_call_is_seen_however_it_is_written():
    path = ROOT / "store" / "files" / "removal.py"
    seen = [
        "shutil.rmtree(a)",
        "rmtree(a)",
        "a.unlink()",
        "os.remove(a)",
        "os.rename(a, b)",
        "a.b.rename(c)",
        "a.with_name(x).replace(b)",
        "shutil.move(a, b)",
        "remove(a, inside=b)",
    ]
    unseen = ["text.replace('a', 'b')", "frame.rename(columns=x)", "waiting.remove(job)", "a.read_text()"]
    for line in seen:
        assert called(ast.parse(line).body[0].value), line
    for line in unseen:
        assert called(ast.parse(line).body[0].value) is None, line
    assert ("store/files/removal.py", "remove", "rmtree") in calls(path)
