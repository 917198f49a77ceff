"""The procedure of the chapter, step by step, and its reverse."""
