"""The schema: migrating, inspecting, verifying and rolling it back; and how it stores vectors."""
