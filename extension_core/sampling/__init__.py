"""Which model makes which step: families, schedules, plans. Pure: no host, no gradio."""
