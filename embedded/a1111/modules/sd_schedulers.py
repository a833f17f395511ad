"""Noise schedules by name."""

from __future__ import annotations

from modules.sd_schedule_functions import Scheduler, common_schedulers, normal_scheduler, sgm_uniform, to_d

schedulers = common_schedulers
schedulers_map = {known_as: schedule for schedule in schedulers for known_as in (schedule.name, schedule.label)}

__all__ = ["Scheduler", "normal_scheduler", "schedulers", "schedulers_map", "sgm_uniform", "to_d"]
