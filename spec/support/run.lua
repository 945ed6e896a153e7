-- Runs busted in this interpreter; the busted on the path may be that of another Lua version.
require("busted.runner")({ standalone = false })
