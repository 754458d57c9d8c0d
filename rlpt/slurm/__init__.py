"""Running a manifest's jobs on a Slurm cluster, as job arrays."""
