-- Installing: from a clean clone and from the source archive, offline, into an empty tree; then using what is there.

local process = require("spec.support.process")
local quote = process.quote

local LUAROCKS = "luarocks --lua-version 5.4 --only-server=file:///nonexistent"
local ROCKSPEC = "rockspec/wgtwo-0.1.0-1.rockspec"
local ARCHIVE = "wgtwo-0.1.0.tar.gz"
local WITHOUT_PROTOC = { PROTOC = "false", PROTOC_C = "false" }

describe("packaging", function()
  local top = require("lfs").currentdir()
  local work, checkout

  -- As in a shell that never saw this Makefile, without a network.
  local function sh(command, env, cwd)
    local clean = {
      LUA_PATH = false, LUA_CPATH = false, CFLAGS = false, BUILD = false,
      MAKEFLAGS = "-j2", MAKELEVEL = false, MFLAGS = false,
      http_proxy = "http://127.0.0.1:9", https_proxy = "http://127.0.0.1:9",
    }
    for name, value in pairs(env or {}) do clean[name] = value end
    local result = process.shell(command, { timeout = 280, env = clean, cwd = cwd or work })
    assert(result.ok, ("%s\n%s%s"):format(command, result.output, result.errors))
    return result.output
  end

  -- The examples run as a user's scripts would: from elsewhere, with the installed files alone.
  local function use(tree)
    local env = {
      LUA_PATH = ("%s/share/lua/5.4/?.lua;%s/share/lua/5.4/?/init.lua;;"):format(tree, tree),
      LUA_CPATH = ("%s/lib/lua/5.4/?.so;;"):format(tree),
    }
    local elsewhere = work .. "/elsewhere"
    sh("mkdir -p elsewhere && cp " .. quote(top) .. "/examples/*.lua elsewhere/")
    local script = [[lua5.4 -e 'require "wgtwo"; print(package.searchpath("wgtwo.core", package.cpath))']]
    local found = sh(script, env, elsewhere)
    assert.equal(tree .. "/lib/lua/5.4/wgtwo/core.so\n", found)
    assert.not_equal("", sh("lua5.4 getting_started.lua", env, elsewhere))
    -- the sandbox's help named a file that was not installed
    local help = sh([[lua5.4 -e 'require("wgtwo.sandbox").main()' -- --help]], env, elsewhere)
    for file in help:gmatch("wgtwo/[%w_/]+%.%l+") do sh("test -f " .. tree .. "/share/lua/5.4/" .. file) end
  end

  setup(function()
    work = assert(io.popen("mktemp -d")):read("l")
    checkout = work .. "/checkout"
    if process.shell("git rev-parse --show-toplevel", { cwd = top }).output == top .. "\n" then
      sh("git clone -q " .. quote(top) .. " checkout")
    else -- an unpacked archive tests itself
      local sources = ("tar -C %s --exclude=./.build --exclude=./.generated -cf - ."):format(quote(top))
      sh("mkdir checkout && " .. sources .. " | tar -C checkout -xf -")
    end
  end)

  teardown(function()
    os.execute("rm -rf " .. quote(work))
  end)

  it("luarocks make from a clean clone", function()
    sh(LUAROCKS .. " --tree " .. work .. "/clone-tree make " .. ROCKSPEC, nil, checkout)
    use(work .. "/clone-tree")
  end)

  it("luarocks with the archive of make dist, without protoc", function()
    sh("make dist", nil, checkout)
    sh("mkdir unpacked && cp checkout/.build/" .. ARCHIVE .. " checkout/" .. ROCKSPEC .. " unpacked/")
    sh(LUAROCKS .. " --tree " .. work .. "/archive-tree build wgtwo-0.1.0-1.rockspec",
      WITHOUT_PROTOC, work .. "/unpacked")
    use(work .. "/archive-tree")
  end)

  it("make install into a prefix, from the unpacked archive", function()
    sh("rm -rf wgtwo-0.1.0 && tar -xzf " .. ARCHIVE, nil, work .. "/unpacked")
    sh("make install PREFIX=" .. work .. "/prefix", WITHOUT_PROTOC, work .. "/unpacked/wgtwo-0.1.0")
    use(work .. "/prefix")
  end)
end)
