"""What a run and every other command has to say: as JSON documents, as text, as a page."""
