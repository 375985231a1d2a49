"""Why is this token what it is? What the tokenizer and the matrix say of it, and what a group of tokens shares."""
