"""One recorded request: opened in the `process` hook, watched on each of its samplers, finished however it ends."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import Any, cast

from modules import sd_samplers_common, shared

from extension_core.errors import first_line
from extension_core.hosts.common.preview import output, runs
from extension_core.hosts.common.preview.calls import Call, SigmaCalls, TimestepCalls
from extension_core.hosts.common.preview.comparison import Part
from extension_core.hosts.common.preview.decoders import DECODERS
from extension_core.hosts.common.preview.page_key import PageKey
from extension_core.hosts.common.preview.recorded import STORE, Recorded, about
from extension_core.hosts.common.preview.stopping import Stopping
from extension_core.hosts.common.processing.attributes import set_until_closed
from extension_core.hosts.common.processing.takeover import TakeOver
from extension_core.hosts.protocols import Host, Watched
from extension_core.options.preview import PreviewOptions
from extension_core.sampling.schedule import NoiseSchedule
from extension_core.trajectory.frames import PhaseName, Position, Section, Tag
from extension_core.trajectory.recorder import Recorder
from extension_core.trajectory.store import Generation, State
from extension_core.trajectory.thinning import Thinning

_ATTRIBUTE = "diversity_distillation_recording"
_LOG = logging.getLogger("diversity_distillation")

Now = Callable[[], tuple[PhaseName, str]]
Saw = Callable[[dict[str, Any]], None]


def begin(p: Any) -> None:
    """A user's request has its scripts; called in the `setup` hook, for copies of it not again."""
    runs.begin(p)


def of_request(p: Any) -> Recording | None:
    """The recording of a processing object, if it has one; a copy's may be the original's."""
    known: Recording | None = vars(p).get(_ATTRIBUTE)
    return known if known is not None and known.p is p else None


class Recording:
    """Everything the DT-preview does for one processing object; never lets anything of its own end the request."""

    def __init__(self, host: Host, p: Any, preview: PreviewOptions, taken: TakeOver, part: Part | None = None) -> None:
        self.host, self.p, self.preview, self.taken = host, p, preview, taken
        self.page = PageKey.read(preview.page).key
        self.owner = getattr(p, "user", None) or ""
        is_api = bool(getattr(p, "is_api", False))
        self.about = Recorded(DECODERS.latent_kind(), DECODERS.vae_in_use(), is_api, decoder=preview.decoder)
        if part is not None:
            self.about.group, self.about.role, self.about.compared = part.group, part.role, part.compared
        self._failed = ""
        self._opened: Generation | None = None
        runs.of(p).leave(p)
        if not taken.inner:
            runs.of(p).end_last()
            self._open()
        if part is not None:
            part.id = self.generation.id

    @property
    def generation(self) -> Generation:
        """What is recorded; of copies that others make within a request, once something is sampled."""
        return self._opened or self._open()

    def _open(self) -> Generation:
        preferred = self.preview.id if self.preview.id and self.about.role in ("", "hybrid") else None
        running = runs.running(self.owner, preferred, self.page)
        if running is not None and not self.about.group and not about(running).role:
            # What another extension makes within a request (ADetailer, with its arguments) is shown beside it.
            about(running).group = self.about.group = about(running).group or secrets.token_urlsafe(24)
        identifier = runs.of(self.p).identifier(preferred, running)
        recorder = Recorder(thinning=Thinning(self.preview.every, self.preview.timesteps))
        self._opened = STORE.open(self.owner, identifier, self.page, recorder, about=self.about)
        runs.of(self.p).opened(self)
        return self._opened

    @cached_property
    def stopping(self) -> Stopping:
        """The wish to end it with one of its frames."""
        return Stopping(self.p, self.generation, self.about.stop)

    def take_over(self) -> None:
        """Put the recording around this request's `p.sample`, and have its end told."""
        setattr(self.p, _ATTRIBUTE, self)
        self.taken.layer("sample", self._watched)
        if hasattr(self.p, "sample_hr_pass"):
            self.taken.layer("sample_hr_pass", lambda original: lambda *rest: self.stopping.hires(original, *rest))
        self.taken.at_end(self.abandon)

    def abandon(self) -> None:
        """The request is over; whatever it has brought about is told already."""
        if self._opened is not None:
            self._opened.finish(State.FAILED, "The generation ended before its images were made.")

    def _watched(self, sample: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            generation = self.generation
            try:
                result = sample(*args, **kwargs)
            except BaseException as error:
                generation.finish(State.FAILED, f"The generation failed: {first_line(error)}.")
                raise
            return self.stopping.result(result)

        return watched

    def attach(self, stack: ExitStack, sampler: Any, now: Now) -> Saw:
        """Watch a sampler that is about to run.

        Args:
            now: (which of two models runs, its name), asked after each call.

        Returns:
            What is to be shown the sampler's steps if they are not shown to its own `callback_state`.
        """
        try:
            return _Run(self, stack, sampler, now).saw
        except Exception as error:  # noqa: BLE001 - whatever it is, the image comes first
            self.fail(error)
            return lambda _state: None

    def add(self, tag: Tag, call: Call) -> None:
        """A step's frame."""
        predicted = call.predicted
        number = self.generation.recorder.add(tag, predicted.guided, predicted.cond, predicted.uncond)
        self.stopping.newest(number, tag, predicted.guided)

    def fail(self, error: Exception) -> None:
        """Something of ours went wrong: say so, once."""
        if not self._failed:
            self._failed = f"Recording ended: {first_line(error)}."
            _LOG.exception("DT-preview: recording ended", exc_info=error)

    def finish(self, processed: Any) -> None:
        """The request has its images; called in the `postprocess` hook."""
        if self._opened is None:
            return
        state, missing = State.DONE, self._failed
        if (shared.state.interrupted or shared.state.skipped) and not self.about.stop.asked:
            state, missing = State.INTERRUPTED, f"Interrupted. {self._failed}".strip()
        if not missing and not self.generation.recorder.version:
            missing = "Nothing was recorded: another extension has put a sampler of its own in the host's place."
        self.generation.finish(state, missing)
        decoder, _ = DECODERS.for_files(self.about)
        output.finish(self.p, processed, self.generation, self.preview, decoder)


class _Run:
    """One sampler of a recorded request while it runs."""

    def __init__(self, recording: Recording, stack: ExitStack, sampler: Any, now: Now) -> None:
        self._recording, self._sampler, self._now = recording, sampler, now
        self._by_timestep = hasattr(sampler, "get_timesteps")
        name = getattr(getattr(sampler, "config", None), "name", "")
        self._calls = TimestepCalls(name == "PLMS") if self._by_timestep else SigmaCalls()
        self._schedule = _schedule(recording.host)
        self._section = _section(recording.p)
        self._watched: Watched = recording.host.watch(stack, recording.p, sampler)
        self._forward = sampler.model_wrap_cfg.forward
        self._callback = sampler.callback_state
        set_until_closed(stack, sampler.model_wrap_cfg, "forward", self._called)
        set_until_closed(stack, sampler, "callback_state", self._stepped)

    def _called(self, x: Any, sigma: Any, uncond: Any, cond: Any, cond_scale: float, **rest: Any) -> Any:
        self._end_if_asked()
        level = float(sigma.max())
        cfg = self._watched.calling(sigma, cond_scale, rest.get("s_min_uncond") or 0.0)
        result = self._forward(x, sigma, uncond=uncond, cond=cond, cond_scale=cond_scale, **rest)
        try:
            predicted = self._watched.called(x, sigma, result)
            self._take(self._calls.called(Call(x, level, result, predicted, cfg, *self._now())))
        except Exception as error:  # noqa: BLE001 - as above
            self._recording.fail(error)
        return result

    def saw(self, state: dict[str, Any]) -> None:
        """The sampler has made a step."""
        try:
            self._take(self._calls.stepped(state))
        except Exception as error:  # noqa: BLE001 - as above
            self._recording.fail(error)

    def _stepped(self, state: dict[str, Any]) -> Any:
        self.saw(state)
        result = self._callback(state)
        self._end_if_asked()
        return result

    def _take(self, call: Call | None) -> None:
        if call is not None:
            # In a comparison the base alone is marked as such, though no session runs that would say so.
            phase = call.phase or ("base" if self._recording.about.role == "base" else "")
            tag = Tag(self._section, self._position(call.level), cast(PhaseName, phase), call.cfg, call.model)
            self._recording.add(tag, call)

    def _position(self, level: float) -> Position:
        step = self._recording.stopping.steps_made(self._section)
        steps = max(shared.state.sampling_steps, step + 1)  # Restart, DPM adaptive and UniPC may make more
        if self._schedule is None:
            return Position(step, steps, math.nan, level)
        unit = "timestep" if self._by_timestep else "sigma"
        return Position(step, steps, self._schedule.to_timestep(level, unit), self._schedule.to_sigma(level, unit))

    def _end_if_asked(self) -> None:
        """Let the host end this run as if it were interrupted, but without its flag, so that the image is kept."""
        if self._recording.stopping.due(self._section):
            raise sd_samplers_common.InterruptedException


def _section(p: Any) -> Section:
    in_txt2img = "hires pass" if p.is_hr_pass else "first pass"
    return Section(in_txt2img if hasattr(p, "enable_hr") else "img2img", p.iteration, p.n_iter)


def _schedule(host: Host) -> NoiseSchedule | None:
    """None for models of other kinds (flow), which have none."""
    try:
        return host.noise_schedule()
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None
