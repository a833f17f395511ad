"""The host's start script, as far as extensions ask it for something: which version runs here."""

from modules import launch_utils

git_tag = launch_utils.git_tag
run_pip = launch_utils.run_pip
is_installed = launch_utils.is_installed
args = launch_utils.args
