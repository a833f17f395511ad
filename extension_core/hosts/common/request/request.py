"""One request as it runs: taken over once its plan is settled, run inside of its own `p.sample`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from modules import shared

from extension_core.errors import DiversityError
from extension_core.hosts.common.files.loaded_checkpoint import loaded_name
from extension_core.hosts.common.plan.distilled_model import hash_of
from extension_core.hosts.common.plan.replaced_settings import replaced, settings_of
from extension_core.hosts.common.plan.settle import RequestPlan
from extension_core.hosts.common.processing import infotext_entries
from extension_core.hosts.common.processing.attributes import during
from extension_core.hosts.common.processing.conditioning import other_caches
from extension_core.hosts.common.processing.takeover import READINGS, TakeOver
from extension_core.hosts.common.request.inner_passes import PAINTED, InnerPasses
from extension_core.hosts.common.request.sampler import RunningPass, Watch
from extension_core.hosts.noise import Noise
from extension_core.hosts.protocols import Host, Second
from extension_core.hosts.refusal import RequestRefused
from extension_core.options.fields import INFOTEXT_PREFIX
from extension_core.sampling.roles import Resident
from extension_core.sampling.routing import Phase
from extension_core.trajectory.frames import PhaseName
from extension_core.weights.cond_caches import CondCaches
from extension_core.weights.out_of_memory import memory_for
from extension_core.weights.placement import residency_for
from extension_core.weights.selection import as_base

_ATTRIBUTE = "diversity_distillation_request"
# The host's prompt caches for factors on the networks' weights, kept between requests as its own are.
_PROMPT_CACHES = CondCaches()
_LOG = logging.getLogger("diversity_distillation")
_REPLACED = (
    "Another extension has put its own way of sampling in the place of the host's, so this image would be the base "
    "model's; switch that extension off."
)


def of_request(p: Any) -> Request | None:
    """What this extension does for a processing object, None if nothing; a copy's may be the original's."""
    known: Request | None = getattr(p, _ATTRIBUTE, None)
    return known if known is not None and known.p is p else None


class Request:
    """Everything the extension does for one processing object."""

    def __init__(self, host: Host, p: Any, plan: RequestPlan, taken: TakeOver, note: str = "") -> None:
        """Nothing happens yet.

        Args:
            plan: what `settle` made of the request.
            taken: notes what is changed on the processing object, to be given back.
            note: what is to be said of how the arguments came.
        """
        self.host, self.p, self.taken, self.request_plan = host, p, taken, plan
        self.path, self.selection, self.session, self.passes = plan.path, plan.selection, plan.session, plan.passes
        self.second: Second | None = None
        self._note = note
        self._notes: list[str] = []
        self._error: Exception | None = None
        self._running: RunningPass | None = None
        self._attached = 0
        self._own_reading: Phase | None = None
        self._reading = False
        self._opened = False
        self._others = InnerPasses()

    def take_over(self) -> None:
        """Set what was settled, say it, and put this request between the host and its `p.sample`."""
        p, session = self.p, self.session
        session.model_hash = hash_of(self.path)
        notes = self.request_plan.with_known_hashes().notes
        setattr(p, _ATTRIBUTE, self)
        asked = settings_of(p)
        with self.taken.changes():
            self._set_what_runs()
            session.asked = replaced(asked, settings_of(p))
            self.host.prepare_request(p, session)
            for name in READINGS:
                if hasattr(p, name):
                    setattr(p, name, self._read_with_networks(getattr(p, name)))
            if self.passes.own_levels:
                p.sampler_noise_scheduler_override = self._sigmas_for_host
            if getattr(p, "enable_hr", False):
                p.hr_scheduler = p.hr_scheduler or p.scheduler  # as the host does in `p.init`, where it would stay ours
        infotext_entries.tell_settings(p, self.taken.ours())
        infotext_entries.tell(p, session.infotext())
        self._tell((*notes, *filter(None, [self._note]), *self.host.neighbours_notes(p, session)))
        _LOG.info("%s%s", session.plan.describe(), f" ({session.family_found})" if session.family_found else "")
        self.taken.layer("sample", self._guarded)

    def _set_what_runs(self) -> None:
        for name, value in self.request_plan.settings.items():
            setattr(self.p, name, value)
        self.passes = self.passes.of(self.p)
        self.p.cfg_scale = self.session.cfg(Phase.BASE if self.session.options.mode == "base" else Phase.DISTILLED)

    def _tell(self, notes: Sequence[str]) -> None:
        """Bring notes to the user, under the image and in its infotext."""
        for note in notes:
            if note not in self._notes:
                self._notes.append(note)
                self.p.comment(note)
        if self._notes:
            infotext_entries.tell(self.p, {f"{INFOTEXT_PREFIX} note": " ".join(self._notes)})

    def image_finished(self) -> None:
        """Every extension has had its turn at an image, which has no infotext yet: say it if one has painted in it."""
        if self._others.found():
            self._tell([PAINTED])

    def finish(self, processed: Any) -> None:
        """The request has its images: the host's `Processed`, made of the user's settings, is to tell what ran."""
        ran = self.taken.ours()
        for name in {"steps", "sampler_name", "cfg_scale"} & set(ran):
            setattr(processed, name, ran[name])

    def attach(self, stack: ExitStack, watch: Watch | None) -> None:
        """Take over the pass that is about to run; an error waits for `p.sample`, which the host does not guard.

        Args:
            stack: of changes to the pass's sampler.
            watch: as in `RunningPass`.
        """
        try:
            if not self._opened:
                raise RequestRefused(_REPLACED)
            self._plan_over(self.host.noise(live=True))
            conds = self._own_conds()
            plan = self.session.pass_plan(hires=self.p.is_hr_pass)
            self._running = RunningPass(
                self.host, self.p, self.session, self.passes, plan, self.second, conds, self._ran_out, watch
            )
            self._running.attach(stack, self.p.sampler)
            self._attached += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the host would swallow it here
            self._error = error
            self.p.sampler.sample = self.p.sampler.sample_img2img = self._fail

    def _plan_over(self, noise: Noise) -> None:
        """Plan anew where the model's noise schedule, now that it samples, is not the one that was planned for."""
        if noise.is_same(self.passes.noise):
            return
        self.passes = self.passes.over(noise)
        self.session.plan = self.passes.plan()
        infotext_entries.take_back(self.p, self.session.infotext_of_plan())
        infotext_entries.tell(self.p, self.session.infotext())
        self._tell(self.session.plan.notes)
        _LOG.info("over the noise levels in force: %s", self.session.plan.describe())

    def model_now(self) -> tuple[PhaseName, str]:
        """(the phase of the denoiser's call that is being made, or was last; the name of its model)."""
        phase = self._running.phase if self._running is not None else None
        phase = phase or self.session.roles.loaded
        is_second = self.path is not None and self.session.roles.resident(phase) is Resident.SECOND
        name: PhaseName = "base" if phase is Phase.BASE else "distilled"
        return name, self.path.stem if is_second and self.path is not None else loaded_name()

    def _ran_out(self) -> bool:
        """Memory has run out inside a call of the denoiser: whether there is room now to make it again."""
        if self.second is None or not (warning := self.second.make_room()):
            return False
        _LOG.warning("%s", warning)
        self._tell([warning])
        self._tell_memory(self.second)
        return True

    def _own_conds(self) -> dict[Phase, tuple[Any, Any]]:
        """The second model's own reading of the prompt by phase, with that phase's weights of the networks."""
        read: dict[float, tuple[Any, Any] | None] = {}
        for phase in self.session.read_by_second if self.second is not None else ():
            factor = self.session.lora_factor(phase)
            if factor not in read:
                read[factor] = self._read_by_second(phase, factor)
        by_phase = {phase: read.get(self.session.lora_factor(phase)) for phase in self.session.read_by_second}
        return {phase: conds for phase, conds in by_phase.items() if conds is not None}

    def _read_by_second(self, phase: Phase, factor: float) -> tuple[Any, Any] | None:
        assert self.second is not None
        self._own_reading = phase
        try:
            return self.second.own_conds(self.p, factor)
        finally:
            self._own_reading = None

    def _read_with_networks(self, original: Callable[[], None]) -> Callable[[], None]:
        """The host's reading of a prompt, with the networks' weights of the phase that it is for."""

        def read() -> None:
            if self._reading:
                original()
                return
            phase = self._own_reading or self.session.prompt_phase
            factor = self.session.lora_factor(phase)
            with _memory_for("reading the prompt"), ExitStack() as stack:
                stack.enter_context(self.host.text_networks(self.p, factor))
                if factor != 1.0 and not self._own_reading:
                    stack.enter_context(other_caches(self.p, _PROMPT_CACHES.of(factor)))
                stack.enter_context(during(self, _reading=True))
                original()

        return read

    def _fail(self, *_args: Any, **_kwargs: Any) -> Any:
        assert self._error is not None
        raise self._error

    def _guarded(self, sample: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            jobs = shared.state.job_no
            try:
                with _memory_for("sampling"), ExitStack() as stack:
                    self._open(stack)
                    result = sample(*args, **kwargs)
            except DiversityError as error:
                raise error if isinstance(error, RequestRefused) else RequestRefused(str(error)) from error
            self._check_ran()
            self._others.sampled(jobs)
            return result

        return guarded

    def _open(self, stack: ExitStack) -> None:
        self._attached = 0
        self.session.calls.clear()
        infotext_entries.take_back(self.p, [infotext_entries.ENDED])
        infotext_entries.tell(self.p, self.session.infotext())
        stack.callback(self._tell_what_ran)
        stack.enter_context(during(self, _opened=True))
        if self.selection is None:
            self.second = self.host.base_alone()
            return
        shared.state.textinfo = f"Loading the {'base' if self.selection.makes_base else 'distilled model'}"
        options = self.session.options
        residency = residency_for(options.residency, self.session.plan.takes_turns)
        with as_base() if self.selection.makes_base else nullcontext():
            self.second = self.host.second_model(self.selection, self.p, residency)
        shared.state.textinfo = None
        stack.callback(self.second.restore)
        if self.session.loras_differ:
            self.second.keep_networks_apart()
        self._tell(self.second.notes)
        self._tell_memory(self.second)

    def _tell_what_ran(self) -> None:
        infotext_entries.tell(self.p, self.session.infotext_calls())
        if not self.session.calls[Phase.DISTILLED]:
            state = shared.state
            how = "interrupted" if state.interrupted else "skipped" if state.skipped else "stopped"
            infotext_entries.ended_before_the_switch(self.p, how)

    def _tell_memory(self, second: Second) -> None:
        placed = str(second.placed)
        _LOG.info("memory: %s", placed)
        infotext_entries.tell(self.p, {f"{INFOTEXT_PREFIX} memory": placed})

    def _check_ran(self) -> None:
        """What ran is what was planned, or no image leaves.

        The host drops a script's hook silently if another script breaks the chain; the image would be the base's.
        """
        ended = shared.state.interrupted or shared.state.skipped
        if self._attached == 0 and not ended:
            raise RequestRefused(
                "Diversity Distillation was not asked before sampling, so this image would be the base model's; "
                "the host is too old or another extension replaced its sampling: see the requirements in the README."
            )
        if found := self.session.difference(stopped=ended or shared.state.stopping_generation):
            raise RequestRefused(
                f"This image is not what Diversity Distillation planned: {found}; another extension has changed the "
                "sampling, so switch that extension off."
            )

    def _sigmas_for_host(self, steps: int) -> torch.Tensor:
        """`p.sampler_noise_scheduler_override`; the host drops the last but one of them where its settings say so."""
        config = self.p.sampler.config
        drops = config.options.get("discard_next_to_last_sigma", False) or shared.opts.always_discard_next_to_last_sigma
        levels = self.passes.for_host(config.name, steps - 1 if drops else steps)
        if drops:
            levels = (*levels[:-1], levels[-1], levels[-1])
        return torch.tensor(levels, dtype=torch.float32)


def _memory_for(doing: str) -> AbstractContextManager[None]:
    """What hosts say of memory that ran out is no sentence for users."""
    return memory_for(
        lambda said: (
            f"Memory ran out while {doing} ({said}); make the image or the batch smaller, or close other programs."
        ),
        RequestRefused,
    )
