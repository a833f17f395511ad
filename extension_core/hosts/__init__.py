"""Adapters to the WebUIs: the only place that imports the hosts' `modules`."""
