# docker build -f docker/humble.Dockerfile -t r2former_ros:humble .
FROM ros:humble-ros-base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1
WORKDIR /ws
COPY package.xml src/r2former_ros/package.xml
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-pip \
 && rosdep update --rosdistro "$ROS_DISTRO" \
 && rosdep install --from-paths src --ignore-src -y \
 && pip install 'torch>=2.4' 'numpy<2.3' \
 && rm -rf /var/lib/apt/lists/*
COPY . src/r2former_ros
RUN source "/opt/ros/$ROS_DISTRO/setup.bash" && colcon build --packages-select r2former_ros
COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "r2former_ros", "localize.launch.py", "--show-args"]
