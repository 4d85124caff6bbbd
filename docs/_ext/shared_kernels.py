"""Execute pages in as many kernels as there are cores, instead of one for each page.

A page costs less where JAX is imported and warm. myst-nb then finds the outputs in its
cache; it executes itself, and reports, what failed here.
"""

import copy
import logging
import os
import queue
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from myst_nb.core.read import read_myst_markdown_notebook
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat.v4 import new_code_cell, new_notebook
from sphinx.application import Sphinx

_WRITES = Lock()
# Between two pages: no names of the one before; figures look the same on all pages.
_BETWEEN = new_notebook(cells=[new_code_cell("%reset -f\nimport figures")])


def execute_pages(app: Sphinx) -> None:
    """Execute what the cache lacks.

    A page that sets up JAX, such as the number of devices, gets a kernel of its own.
    """
    if app.config.nb_execution_mode != "cache":
        return
    cache = get_cache(app.config.nb_execution_cache_path)
    waiting: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    for name in sorted(app.project.discover()):
        path = Path(app.project.doc2path(name, True))
        text = path.read_text("utf-8")
        if "{code-cell}" not in text:
            continue
        page = read_myst_markdown_notebook(text)
        try:
            cache.match_cache_notebook(page)
        except KeyError:
            waiting.put((str(path), page))
    workers = min(os.cpu_count() or 1, waiting.qsize())
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        for done in [pool.submit(_work, waiting, app, cache) for _ in range(workers)]:
            done.result()


def _work(waiting: Any, app: Sphinx, cache: Any) -> None:
    shared = _new_kernel()
    try:
        while True:
            try:
                path, page = waiting.get_nowait()
            except queue.Empty:
                return
            start = time.monotonic()
            try:
                _execute(page, app, shared)
            except (CellExecutionError, CellTimeoutError):
                continue
            seconds = {"execution_seconds": time.monotonic() - start}
            bundle = CacheBundleIn(page, path, data=seconds)
            with _WRITES:
                cache.cache_notebook_bundle(
                    bundle, check_validity=False, overwrite=True
                )
    finally:
        if shared.has_kernel:
            run_sync(shared.shutdown_kernel)(now=True)


def _execute(page: Any, app: Sphinx, shared: AsyncKernelManager) -> None:
    code = "".join(cell.source for cell in page.cells)
    if "os.environ" in code or "jax.config" in code:
        alone = _new_kernel()
        try:
            _run(page, app, alone)
        finally:
            run_sync(alone.shutdown_kernel)(now=True)
    else:
        _run(copy.deepcopy(_BETWEEN), app, shared)
        _run(page, app, shared)


def _new_kernel() -> AsyncKernelManager:
    return AsyncKernelManager(kernel_name="python3")


def _run(page: Any, app: Sphinx, kernel: AsyncKernelManager) -> None:
    timeout = app.config.nb_execution_timeout
    client = NotebookClient(
        page, km=kernel, timeout=timeout, startup_timeout=timeout, record_timing=False
    )  # times would be part of what the cache compares
    client.execute(stderr=subprocess.DEVNULL)  # the kernel's own; not that of cells
    if client.kc is not None:
        client.kc.stop_channels()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook, after the pages of the API reference have been generated."""
    logging.getLogger("traitlets").setLevel(logging.WARNING)
    app.connect("builder-inited", execute_pages, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
