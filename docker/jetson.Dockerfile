# For a Jetson Orin with JetPack 6 (Ubuntu 22.04, ROS 2 Humble). NVIDIA's image brings PyTorch with
# CUDA for this board; choose the tag that fits the JetPack release.
# docker build -f docker/jetson.Dockerfile -t r2former_ros:jetson .
ARG BASE=dustynv/ros:humble-pytorch-l4t-r36.4.0
FROM ${BASE}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV PIP_NO_CACHE_DIR=1
WORKDIR /ws
# The image's torch stays: timm and the rest are installed without their dependencies on it.
RUN pip3 install --no-deps 'timm>=1.0.9' \
 && pip3 install 'faiss-cpu>=1.8' 'rosbags>=0.10' 'safetensors>=0.4' huggingface_hub scipy \
      matplotlib tqdm pyyaml
COPY . src/r2former_ros
RUN source "/opt/ros/${ROS_DISTRO}/install/setup.bash" \
 && colcon build --packages-select r2former_ros
COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "r2former_ros", "localize.launch.py", "--show-args"]
