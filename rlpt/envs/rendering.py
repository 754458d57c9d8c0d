"""Rendering a dm_control task into small RGB frames."""

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from rlpt.errors import UsageError

if TYPE_CHECKING:
    from rlpt.settings import EnvironmentSettings

# Off-screen rendering without a display. dm_control and MuJoCo read this when they are first imported.
if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")
# Mesa's software renderer would share out an image that is too small for that among a thread for every core: the same
# pixels in its caller's thread cost a fifth less computing time.
os.environ.setdefault("LP_NUM_THREADS", "0")
# PyTorch's standard build brings Triton, which crashes when it is loaded after Mesa's software renderer (both carry an
# LLVM). So it is loaded first.
if importlib.util.find_spec("triton"):
    importlib.import_module("triton")

NO_OPENGL_REMEDY = "install libegl1, libopengl0 and libgl1-mesa-dri, leave MUJOCO_GL unset, then see `rlpt doctor`"


class Renderer:
    """Renders a task's camera; holds one scene for the task's whole life."""

    def __init__(self, physics: Any, settings: "EnvironmentSettings") -> None:
        """Prepares an off-screen buffer for `physics` (dm_control's `Physics`).

        Raises:
            UsageError: if OpenGL cannot be started or the camera does not exist.
        """
        from dm_control.mujoco import engine

        width, height = settings.offscreen_size or (settings.size, settings.size)
        visual = physics.model.vis
        visual.global_.offwidth, visual.global_.offheight = width, height
        visual.quality.offsamples = settings.multisampling
        if settings.camera >= physics.model.ncam:
            raise UsageError(
                f"environment.camera is {settings.camera}, but this task has {physics.model.ncam} fixed camera(s); "
                "-1 is the free camera"
            )
        try:
            self._camera = engine.Camera(physics, settings.size, settings.size, settings.camera)
        except (RuntimeError, ImportError, AttributeError) as error:
            raise UsageError(f"OpenGL does not start ({error}): {NO_OPENGL_REMEDY}") from error
        self._flags = {"shadow": settings.shadows, "reflection": settings.reflections}

    def frame(self) -> np.ndarray:
        """Returns the present scene as a new uint8 array [size, size, 3]."""
        return np.ascontiguousarray(self._camera.render(render_flag_overrides=self._flags))


def renderer_name() -> str:
    """Returns what OpenGL calls the device that renders, for example "llvmpipe (LLVM 15.0.6, 256 bits)".

    Raises:
        UsageError: if OpenGL does not start.
    """
    try:
        from dm_control import _render
        from OpenGL import GL

        renderer = _render.Renderer(max_width=8, max_height=8)
        try:
            with renderer.make_current() as context:
                return str(context.call(GL.glGetString, GL.GL_RENDERER).decode())
        finally:
            renderer.free()
    except (RuntimeError, ImportError, AttributeError) as error:
        raise UsageError(f"OpenGL does not start ({error}): {NO_OPENGL_REMEDY}") from error
