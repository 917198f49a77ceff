"""What this machine must have: a container engine, and images and programs where no registry answers."""
