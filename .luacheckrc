std = "lua54"
max_line_length = 120
files["spec"] = { std = "+busted" }
include_files = { "lua", "spec", "examples", "rockspec", ".luacheckrc", ".busted" }
files["rockspec"] = { std = "+rockspec" }
exclude_files = { ".build" }
