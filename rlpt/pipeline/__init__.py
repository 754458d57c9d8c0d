"""From settings to finished jobs: identities and inputs, what they need, running them, and running them again."""
