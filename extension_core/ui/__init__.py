"""The accordion: gradio components derived from the options."""
