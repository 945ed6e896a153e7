-- The foreign tools: what is there, and how the rest is had by name through go, npm and pip, into one folder.
-- A tool is a table: what its tests need, or `missing`, the reason why it cannot be had. Versions are pinned: here, in
-- go/go.mod, node/package.json and python/requirements.txt.

local client = require("spec.interop.client")

local tools = {}

local GRPCURL <const> = "github.com/fullstorydev/grpcurl/cmd/grpcurl"
local GRPCURL_VERSION <const> = "v1.9.3" -- the last that Go before 1.25 builds
local API_MODULE <const> = "github.com/working-group-two/wgtwoapis"
local LIMIT <const> = 600 -- seconds that one installation may take

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

--- Runs a command of an installation: true, or nil and its last words.
local function install(argv, options)
  options = options or {}
  options.limit = LIMIT
  local code, output = client.run(argv, options)
  if code == 0 then return true, output end
  local last
  for line in output:gmatch("[^\n]+") do
    if line:find("%S") and not line:find("^npm notice") and not line:find("complete log") then last = line end
  end
  return nil, ("%s %s: %s"):format(argv[1], argv[2], last or "exit code " .. code)
end

--- The path of a program, or nil.
local function which(name)
  local code, output = client.run{ "sh", "-c", 'command -v "$0"', name }
  return code == 0 and output:match("^[^\n]+") or nil
end

local function need(name)
  return which(name) or error({ missing = name .. " is not installed" })
end

--- What a step said, where it worked.
local function must(ok, reason)
  if not ok then error({ missing = reason }) end
  return reason
end

--- Makes a tool with a function; an error that is a table says why it is missing.
local function tool(f)
  return function(folder, source)
    local ok, made = xpcall(f, function(problem)
      return type(problem) == "table" and problem or debug.traceback(problem)
    end, folder, source)
    if not ok and type(made) ~= "table" then error(made, 0) end
    return made
  end
end

--- Does something once for the content of a file: again when that changes, or when it did not work.
local function once_for(manifest, stamp, f)
  local content = assert(read(manifest))
  if read(stamp) == content then return end
  f()
  local file <close> = assert(io.open(stamp, "wb"))
  assert(file:write(content))
end

tools.curl = tool(function()
  return { path = need("curl"), jq = which("jq") }
end)

tools.grpcurl = tool(function(folder, source)
  local bin = ("%s/grpcurl-%s"):format(folder, GRPCURL_VERSION)
  if not exists(bin .. "/grpcurl") then
    need("go")
    must(install({ "go", "install", GRPCURL .. "@" .. GRPCURL_VERSION }, { env = { GOBIN = bin, GOFLAGS = false } }))
  end
  local api = tools.published_api(folder, source)
  return { path = bin .. "/grpcurl", published = api.path, without_published = api.missing }
end)

local function go_options(source)
  return { cwd = source .. "/go", env = { GOFLAGS = "-mod=readonly" } }
end

-- The published module of the API is not in Go's checksum database: go.sum has the sums that a project which uses it
-- has recorded.
tools.published_api = tool(function(_, source)
  need("go")
  must(install({ "go", "mod", "download" }, go_options(source)))
  local module = must(install({ "go", "list", "-m", "-f", "{{.Dir}}", API_MODULE }, go_options(source)))
  return { path = module:match("^[^\n]+") .. "/image.bin" }
end)

tools.go = tool(function(folder, source)
  local api = tools.published_api(folder, source)
  if api.missing then return api end
  local path = folder .. "/go-client"
  local built, problem = install({ "go", "build", "-o", path, "." }, go_options(source))
  return { path = path, defect = not built and problem or nil }
end)

tools.node = tool(function(folder, source)
  local node, manifest, target = need("node"), source .. "/node/package.json", folder .. "/node"
  once_for(manifest, target .. "/installed", function()
    need("npm")
    must(install{ "sh", "-c", 'mkdir -p "$1" && cp "$0" "$1"', manifest, target })
    must(install({ "npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts",
      "--loglevel=error" }, { cwd = target }))
  end)
  return { argv = { node, source .. "/node/client.js" }, env = { NODE_PATH = target .. "/node_modules" } }
end)

tools.python = tool(function(folder, source)
  local manifest, target = source .. "/python/requirements.txt", folder .. "/python"
  once_for(manifest, target .. "/installed", function()
    must(install{ need("python3"), "-m", "venv", target })
    must(install{ target .. "/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
      "-r", manifest })
  end)
  return { argv = { target .. "/bin/python", source .. "/python/client.py" } }
end)

return tools
