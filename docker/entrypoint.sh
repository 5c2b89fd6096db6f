#!/usr/bin/env bash
# Make ROS and this workspace known to the command.
set -e
for setup in "/opt/ros/$ROS_DISTRO/setup.bash" "/opt/ros/$ROS_DISTRO/install/setup.bash" \
             /ws/install/setup.bash; do
    if [ -f "$setup" ]; then source "$setup"; fi
done
exec "$@"
