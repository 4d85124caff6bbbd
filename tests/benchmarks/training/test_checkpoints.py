"""What is saved comes back, or is refused; on any devices."""

import functools
import itertools
import shutil
import subprocess
import sys
import threading
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh

from benchmarks.errors import UsageError
from benchmarks.paths import ROOT
from benchmarks.training.checkpoints import Checkpoints
from benchmarks.training.devices import AXIS, DeviceLayout
from padam_optax import padam
from tests.marks import fast

pytestmark = [
    pytest.mark.usefixtures("standard_promotion"),
    # Of what Orbax leaves behind where an array is damaged.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
]

JIT = DeviceLayout()


class OnOneDevice(DeviceLayout):
    @property
    def devices(self):
        return 1

    @functools.cached_property
    def mesh(self):
        device = np.array(jax.devices()[:1])
        return Mesh(device, (AXIS,), axis_types=(AxisType.Auto,))


MODES = {
    "one": OnOneDevice(),
    "eight": JIT,
    "sharded": DeviceLayout("jit", shard_optimizer=True),
    "pmap": DeviceLayout("pmap"),
}


class State(NamedTuple):
    step: Any
    params: Any
    opt_state: Any


PARAMS = {
    "w": np.arange(128.0, dtype=np.float32).reshape(16, 8),
    "b": np.ones(3, np.float32),
}


@functools.cache
def initial():
    tx = optax.chain(
        optax.add_noise(0.1, 0.5, key=jax.random.key(7)),
        padam(0.1, mu_dtype=jnp.bfloat16),
    )
    return tx.init(jax.tree.map(jnp.asarray, PARAMS))


def make(value=1, layout=JIT):
    """Make a state as optimizers have them: NamedTuples, tuples, a typed key."""
    opt_state = jax.tree.map(
        lambda x: x if is_key(x) else x + jnp.asarray(value, x.dtype), initial()
    )
    if layout.strategy == "jit":
        placements = jax.tree.map(layout.state_sharding, opt_state)
        opt_state = jax.device_put(opt_state, placements)
    else:
        opt_state = layout.replicate(opt_state)
    params = {name: x * np.float32(value) for name, x in PARAMS.items()}
    return State(layout.replicate(np.int32(value)), layout.replicate(params), opt_state)


def is_key(x):
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def assert_same(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(found)]
    leaves = zip(names, jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    for name, a, b in leaves:
        assert a.dtype == b.dtype, name
        if is_key(a):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), name)


def save(folder, *steps, layout=JIT, keep=2, accuracies=None):
    with Checkpoints(folder, layout, keep, 0) as checkpoints:
        for step, accuracy in zip(steps, accuracies or [0.5] * len(steps), strict=True):
            checkpoints.save(step, make(step, layout), accuracy, {"loss": [step + 0.1]})


def restore(folder, like=None, layout=JIT):
    with Checkpoints(folder, layout, 2, 0) as checkpoints:
        return checkpoints.restore(make(0, layout) if like is None else like)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with checkpoints 3 and 4."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    with jax.numpy_dtype_promotion("standard"):
        save(folder, 3, 4)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


def test_new_folder_has_no_checkpoint(tmp_path):
    with Checkpoints(tmp_path / "a" / "b", JIT, 2, 0) as checkpoints:
        assert checkpoints.latest is None


def test_state_and_notes_come_back(saved):
    with Checkpoints(saved, JIT, 2, 0) as checkpoints:
        assert checkpoints.latest == 4
        state, notes = checkpoints.restore(make(0))
    wanted = make(4)
    dtypes = {str(x.dtype) for x in jax.tree.leaves(wanted)}
    assert dtypes == {"int32", "float32", "bfloat16", "key<fry>"}
    assert type(state) is State
    assert_same(state, wanted)
    assert notes == {"loss": [4.1]}
    for x, like in zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True):
        assert x.sharding.is_equivalent_to(like.sharding, x.ndim)


@pytest.mark.parametrize(
    ("accuracies", "keep", "left"),
    [
        ([0.1, 0.9, 0.3, 0.4, 0.5], 2, ["2", "4", "5"]),
        pytest.param([0.9, 0.1, 0.3, 0.4, 0.5], 1, ["1", "5"], marks=pytest.mark.slow),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 2, ["4", "5"]),
        pytest.param(
            [0.1, 0.2, 0.3, 0.9, 0.5], 3, ["3", "4", "5"], marks=pytest.mark.slow
        ),
        ([-1.0, 0.0, -1.0, -1.0, -1.0], 1, ["2", "5"]),
    ],
)
def test_the_last_ones_and_the_best_are_kept(tmp_path, accuracies, keep, left):
    for step, accuracy in enumerate(accuracies, start=1):
        # By a new process each, as it were: the best is known by what is written.
        save(tmp_path, step, keep=keep, accuracies=[accuracy])
    assert names(tmp_path) == left
    assert_same(restore(tmp_path)[0], make(5))
    for step in ("5",) * (len(left) > 1):
        shutil.rmtree(tmp_path / step)
    if len(left) > 1:  # and those before it are whole
        assert_same(restore(tmp_path)[0], make(int(left[-2])))


@pytest.mark.slow
def test_arrays_may_be_given_up_and_notes_changed_at_once(tmp_path):
    add = jax.jit(lambda x: jax.tree.map(lambda x: x + 1, x), donate_argnums=0)
    with Checkpoints(tmp_path, JIT, 9, 0) as checkpoints:
        state, notes = JIT.replicate({"x": jnp.zeros((1000, 1000))}), {"loss": []}
        for step in range(1, 6):
            state = add(state)
            notes["loss"].append(float(step))
            checkpoints.save(step, state, 0.0, notes)
            for _ in range(3):
                state = add(state)
            notes["loss"].append(-1.0)
            notes = {"loss": list(notes["loss"])}
            notes["loss"].pop()
    like = JIT.replicate({"x": jnp.zeros((1000, 1000))})
    for step in range(5, 0, -1):
        found, notes = restore(tmp_path, like)
        assert np.unique(found["x"]) == [4 * step - 3]
        assert notes == {"loss": [float(i) for i in range(1, step + 1)]}
        shutil.rmtree(tmp_path / str(step))


@pytest.mark.parametrize("kind", fast(["cut", "deleted"], "cut"))
def test_whatever_is_damaged_is_refused_or_does_not_matter(copy, tmp_path, kind):
    files = [path for path in (copy / "4").rglob("*") if path.is_file()]
    refused = []
    for number, file in enumerate(files):
        name = str(file.relative_to(copy))
        folder = shutil.copytree(copy, tmp_path / str(number))
        if kind == "cut":
            content = file.read_bytes()
            (folder / name).write_bytes(content[: len(content) // 2])
        else:
            (folder / name).unlink()
        try:
            state, notes = restore(folder)
        except UsageError as error:
            message = str(error)
            assert message.startswith(f"the checkpoint {folder / '4'} is damaged")
            assert "remove it to resume from the previous one" in message
            assert "start over with another --out" in message
            assert "\n" not in message
            refused.append(name)
            shutil.rmtree(folder / "4")  # as it says
            state, notes = restore(folder)
            assert_same(state, make(3))
            assert notes == {"loss": [3.1]}
        else:
            assert_same(state, make(4))
            assert notes == {"loss": [4.1]}
    assert {"4/state/_METADATA", "4/_CHECKPOINT_METADATA"} <= set(refused)
    assert any(name.startswith("4/state/d/") for name in refused)  # arrays


def test_empty_folder_with_the_name_of_a_step_is_refused(copy):
    (copy / "5").mkdir()
    with pytest.raises(UsageError, match=f"the checkpoint {copy}/5 is damaged .*remov"):
        restore(copy)
    (copy / "5").rmdir()
    assert_same(restore(copy)[0], make(4))


def test_file_with_the_name_of_a_step_is_refused(copy):
    (copy / "5").write_text("not a checkpoint")
    with pytest.raises(UsageError, match=f"the checkpoint {copy}/5 is damaged .*remov"):
        restore(copy)


def test_checkpoint_under_the_name_of_another_step_is_refused(copy):
    (copy / "4").rename(copy / "40")
    with pytest.raises(UsageError, match=f"{copy}/40 .*is not that of step 40"):
        restore(copy)


def test_files_that_are_no_checkpoints_are_left_alone(copy):
    (copy / "notes.txt").write_text("mine")
    (copy / "old").mkdir()
    assert_same(restore(copy)[0], make(4))
    save(copy, 5)
    assert names(copy) == ["4", "5", "notes.txt", "old"]


def foreign():
    state = make(0)
    wider = {**state.params, "w": jnp.zeros((16, 9))}
    narrow = {**state.params, "w": jnp.zeros((16, 8), jnp.float16)}
    more = {**state.params, "v": jnp.zeros(2)}
    less = {"w": state.params["w"]}
    other = padam(0.1).init(state.params)
    return {
        "shape": (state._replace(params=wider), "params/w is float32.16, 8. instead"),
        "dtype": (state._replace(params=narrow), "instead of float16.16, 8."),
        "more": (state._replace(params=more), "params/v is not there instead of"),
        "less": (state._replace(params=less), "params/b is float32.3. instead of not"),
        "optimizer": (state._replace(opt_state=other), "opt_state/"),
    }


@pytest.mark.parametrize("kind", ["shape", "dtype", "more", "less", "optimizer"])
@pytest.mark.parametrize("layout", ["eight", "pmap"])
def test_foreign_checkpoint_is_refused_saying_what_differs(saved, kind, layout):
    like, difference = foreign()[kind]
    with pytest.raises(UsageError) as caught:
        restore(saved, MODES[layout].replicate(like), MODES[layout])
    assert caught.match(f"the checkpoint {saved}/4 is damaged or not of this run")
    assert caught.match(difference)


def test_what_a_killed_process_was_writing_is_removed(copy):
    shutil.copytree(copy / "4", copy / "5.orbax-checkpoint-tmp")
    (copy / "5.orbax-checkpoint-tmp" / "metrics" / "metrics").write_text('{"accu')
    (copy / "6.orbax-checkpoint-tmp").mkdir()
    state, notes = restore(copy)
    assert_same(state, make(4))
    assert notes == {"loss": [4.1]}
    save(copy, 5)
    assert names(copy) == ["4", "5"]
    assert_same(restore(copy)[0], make(5))


def test_what_a_killed_process_had_no_time_to_delete_is_removed(copy):
    for step, accuracy in [(1, 0.6), (2, 0.5)]:
        shutil.copytree(copy / "3", copy / str(step))
        (copy / str(step) / "metrics" / "metrics").write_text(
            f'{{"accuracy":{accuracy}}}'
        )
    with Checkpoints(copy, JIT, 2, 0) as checkpoints:
        checkpoints.delete_outdated()
    assert names(copy) == ["1", "3", "4"]  # 1 is the best


@pytest.mark.parametrize("left", [[], ["state"], ["metrics"], ["_CHECKPOINT_METADATA"]])
def test_what_a_killed_process_was_deleting_is_removed(copy, left):
    for path in (copy / "3").iterdir():
        if path.name not in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert_same(restore(copy)[0], make(4))
    save(copy, 5)
    assert names(copy) == ["4", "5"]


@pytest.mark.parametrize(
    ("before", "after"),
    fast(
        itertools.product(MODES, MODES),
        ("one", "sharded"),
        ("sharded", "pmap"),
        ("pmap", "eight"),
        ("eight", "one"),
    ),
)
def test_checkpoint_moves_to_other_devices(tmp_path, before, after):
    save(tmp_path, 3, layout=MODES[before])
    layout = MODES[after]
    state, notes = restore(tmp_path, layout=layout)
    assert_same(state, make(3))
    assert notes == {"loss": [3.1]}
    like = make(0, layout)
    for x, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True):
        assert x.sharding.is_equivalent_to(wanted.sharding, x.ndim)
    if after == "sharded":
        shards = [
            x.addressable_shards[0].data.size / x.size
            for x in jax.tree.leaves(state.opt_state)
            if x.shape == (16, 8)
        ]
        assert set(shards) == {1 / 8}


def test_it_is_due_when_the_time_has_passed(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with Checkpoints(tmp_path, JIT, 1, 60) as checkpoints:
        assert not checkpoints.should_save()
        now += 59
        assert not checkpoints.should_save()
        now += 1
        assert checkpoints.should_save()
        checkpoints.save(1, make(1), 0.5, {})
        assert not checkpoints.should_save()
        now += 60
        assert checkpoints.should_save()


def test_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written to .*file/run .*--resume"):
        Checkpoints(tmp_path / "file" / "run", JIT, 2, 0)


def test_save_that_fails_is_named(tmp_path):
    folder = tmp_path / "run"
    checkpoints = Checkpoints(folder, JIT, 2, 0)
    checkpoints.save(1, make(1), 0.5, {})
    checkpoints.close()
    checkpoints = Checkpoints(folder, JIT, 2, 0)
    shutil.rmtree(folder)
    folder.touch()

    def save_and_wait():
        checkpoints.save(2, make(2), 0.5, {})
        checkpoints.close()

    with pytest.raises(UsageError, match="cannot be written to .*run .*--resume"):
        save_and_wait()


@pytest.mark.slow
def test_nothing_is_said_while_all_goes_well(tmp_path):
    program = (
        "import sys, pathlib, jax.numpy as jnp;"
        "from benchmarks.training.checkpoints import Checkpoints;"
        "from benchmarks.training.devices import DeviceLayout;"
        "layout = DeviceLayout(); state = layout.replicate({'x': jnp.ones(3)});"
        "folder = pathlib.Path(sys.argv[1]);"
        "checkpoints = Checkpoints(folder, layout, 1, 0);"
        "[checkpoints.save(i, state, 0.1, {}) for i in range(3)];"
        "checkpoints.close();"
        "Checkpoints(folder, layout, 1, 0).restore(state)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_many_saves_leave_no_threads_behind(tmp_path, monkeypatch):
    layout, alive = DeviceLayout(), []
    # The threads that these saves start, and those that they start: a save that failed
    # in another test has threads of its own, which wait for minutes.
    main, begin = threading.current_thread(), threading.Thread.start
    family = {main}

    def start(thread):
        if threading.current_thread() in family:
            family.add(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with Checkpoints(tmp_path / "run", layout, 1, 0.0) as checkpoints:
        for step in range(1, 9):
            checkpoints.save(step, {"w": layout.replicate(jnp.ones(3))}, 0.5, {})
            alive.append({x for x in family if x is not main and x.is_alive()})
    # How many threads a save under way has is by chance, but none outlives the next
    # saves, each of which waits for the one before.
    assert len(family) > 8
    assert not set.union(*alive[:4]) & alive[-1]
