"""Why is this token what it is? What files, tokenizer and matrix say of it, and what a group of tokens shares."""
