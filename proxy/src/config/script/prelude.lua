-- The objects that scripts use. All they do beyond the script itself goes through one function, `host`, which the proxy sets for
-- each turn of a script: from its start, or from where it waits, to where it waits next, or ends.
--
-- An object belongs to the turn that made it, the handle to its stream: used elsewhere they are refused, as Envoy refuses them.

local raw_time, raw_clock, raw_date, raw_next = os.time, os.clock, os.date, next
local error, getmetatable, pcall, setmetatable, sort, tostring, type, yield =
  error, getmetatable, pcall, setmetatable, table.sort, tostring, type, coroutine.yield

-- What a script yields with that waits for the proxy.
local WAIT = {}
local host
local turn = 0
local stream

-- The host's answer, or its error, which stands where the script called.
local function ask(...)
  local is_done, first, second = host(...)
  if not is_done then
    error(first, 3)
  end
  return first, second
end

local function alive(object)
  if type(object) ~= "table" or object.turn ~= turn or host == nil then
    error("object used outside of proper scope", 3)
  end
end

local function kind(value)
  return value == nil and "nil" or type(value)
end

local function text(value, index, method)
  if type(value) == "string" then
    return value
  end
  if type(value) == "number" then
    return tostring(value)
  end
  error("bad argument #" .. index .. " to '" .. method .. "' (string expected, got " .. kind(value) .. ")", 3)
end

local function number(value, index, method)
  local number = tonumber(value)
  if number == nil then
    error("bad argument #" .. index .. " to '" .. method .. "' (number expected, got " .. kind(value) .. ")", 3)
  end
  return number
end

local function object(class)
  return setmetatable({ turn = turn }, class)
end

local function class()
  local class = {}
  class.__index = class
  for _, name in ipairs({ "Trace", "Debug", "Info", "Warn", "Err", "Critical" }) do
    local level = name:lower()
    class["log" .. name] = function(_, message)
      if host ~= nil then
        host("log", level, text(message, 1, "log" .. name))
      end
    end
  end
  return class
end

-- Iterates over pairs that the host has listed: keys and values in turns.
local function listed(list)
  local at = 0
  return function()
    at = at + 2
    if list[at - 1] ~= nil then
      return list[at - 1], list[at]
    end
  end
end

-- Headers, and trailers.

local Fields = class()

local function changeable(fields)
  if fields.is_iterating then
    error("header map cannot be modified while iterating", 3)
  end
  if fields.part == "headers" and not host("may_change") then
    error("header map can no longer be modified", 3)
  end
end

function Fields:add(name, value)
  alive(self)
  changeable(self)
  ask("add", self.part, text(name, 1, "add"), text(value, 2, "add"))
end

function Fields:replace(name, value)
  alive(self)
  changeable(self)
  ask("replace", self.part, text(name, 1, "replace"), text(value, 2, "replace"))
end

function Fields:remove(name)
  alive(self)
  changeable(self)
  ask("remove", self.part, text(name, 1, "remove"))
end

function Fields:get(name)
  alive(self)
  local values = ask("values", self.part, text(name, 1, "get"))
  if #values > 0 then
    return table.concat(values, ",")
  end
end

function Fields:getAtIndex(name, index)
  alive(self)
  local value = ask("values", self.part, text(name, 1, "getAtIndex"))[number(index, 2, "getAtIndex") + 1]
  if value ~= nil and value ~= "" then
    return value
  end
end

function Fields:getNumValues(name)
  alive(self)
  return #ask("values", self.part, text(name, 1, "getNumValues"))
end

function Fields:setHttp1ReasonPhrase(phrase)
  alive(self)
  changeable(self)
  ask("reason", text(phrase, 1, "setHttp1ReasonPhrase"))
end

function Fields:__pairs()
  alive(self)
  if self.is_iterating then
    error("cannot create a second iterator before completing the first", 2)
  end
  self.is_iterating = true
  local next = listed(ask("list", self.part))
  return function()
    alive(self)
    local name, value = next()
    if name == nil then
      self.is_iterating = false
      return
    end
    return name, value
  end
end

-- A body, or a piece of one.

local Buffer = class()

function Buffer:length()
  alive(self)
  return (ask("length"))
end

function Buffer:getBytes(index, length)
  alive(self)
  return (ask("bytes", number(index, 1, "getBytes"), number(length, 2, "getBytes")))
end

function Buffer:setBytes(bytes)
  alive(self)
  return (ask("set_bytes", text(bytes, 1, "setBytes")))
end

-- Metadata of the route, and of the stream.

local Metadata = class()

function Metadata:get(key)
  alive(self)
  local is_there, value = ask("metadata", text(key, 1, "get"))
  if is_there then
    return value
  end
end

function Metadata:__pairs()
  alive(self)
  return listed(ask("all_metadata"))
end

local Dynamic = class()

function Dynamic:get(namespace)
  alive(self)
  local is_there, value = ask("dynamic", text(namespace, 1, "get"))
  if is_there then
    return value
  end
end

function Dynamic:set(namespace, key, value)
  alive(self)
  ask("set_dynamic", text(namespace, 1, "set"), text(key, 2, "set"), value)
end

function Dynamic:__pairs()
  alive(self)
  return listed(ask("all_dynamic"))
end

-- What metadata a connection has: none, which listener filters would have left.
local OfConnection = class()

function OfConnection:get(namespace)
  alive(self)
  text(namespace, 1, "get")
end

function OfConnection:__pairs()
  alive(self)
  return function() end
end

local State = class()

function State:get(name, field)
  alive(self)
  local is_there, value = ask("state", text(name, 1, "get"))
  if is_there and field == nil then
    return value
  end
end

-- The stream, its connection, and what TLS has agreed upon.

local Ssl = class()
for _, name in ipairs({
  "peerCertificatePresented", "peerCertificateValidated", "uriSanLocalCertificate", "sha256PeerCertificateDigest",
  "serialNumberPeerCertificate", "issuerPeerCertificate", "subjectPeerCertificate", "uriSanPeerCertificate",
  "subjectLocalCertificate", "urlEncodedPemEncodedPeerCertificate", "dnsSansPeerCertificate", "dnsSansLocalCertificate",
  "validFromPeerCertificate", "expirationPeerCertificate", "sessionId", "ciphersuiteId", "ciphersuiteString", "tlsVersion",
}) do
  Ssl[name] = function(self)
    alive(self)
    return (ask("ssl", name))
  end
end

local function ssl()
  if ask("has_ssl") then
    return object(Ssl)
  end
  return nil
end

local Info = class()
for _, name in ipairs({
  "protocol", "routeName", "virtualClusterName", "downstreamLocalAddress", "downstreamDirectLocalAddress",
  "downstreamDirectRemoteAddress", "downstreamRemoteAddress", "requestedServerName",
}) do
  Info[name] = function(self)
    alive(self)
    return (ask("info", name))
  end
end

function Info:dynamicMetadata()
  alive(self)
  return object(Dynamic)
end

-- No filter here leaves typed metadata.
function Info:dynamicTypedMetadata(name)
  alive(self)
  text(name, 1, "dynamicTypedMetadata")
end

function Info:filterState()
  alive(self)
  return object(State)
end

function Info:downstreamSslConnection()
  alive(self)
  return ssl()
end

local ConnectionInfo = class()

function ConnectionInfo:dynamicMetadata()
  alive(self)
  return object(OfConnection)
end

ConnectionInfo.dynamicTypedMetadata = Info.dynamicTypedMetadata

local Connection = class()

function Connection:ssl()
  alive(self)
  return ssl()
end

-- The handle of a stream.

local Handle = class()

local function held(handle)
  if type(handle) ~= "table" or handle.stream ~= stream or host == nil then
    error("object used outside of proper scope", 3)
  end
end

local function fields(part)
  local fields = object(Fields)
  fields.part = part
  return fields
end

-- One object of a kind for a turn: what iterates knows of it.
local function once(handle, name, make)
  local known = handle[name]
  if known == nil or known.turn ~= turn then
    known = make()
    handle[name] = known
  end
  return known
end

function Handle:headers()
  held(self)
  return once(self, "own_headers", function() return fields("headers") end)
end

function Handle:body(always_wraps)
  held(self)
  if always_wraps ~= nil and type(always_wraps) ~= "boolean" then
    error("bad argument #1 to 'body' (boolean expected, got " .. kind(always_wraps) .. ")", 2)
  end
  if ask("begin_body") == "wait" then
    yield(WAIT, "body")
  end
  if ask("has_body", always_wraps or false) then
    return object(Buffer)
  end
end

function Handle:bodyChunks()
  held(self)
  ask("begin_chunks")
  return function()
    if ask("is_complete") then
      return nil
    end
    if yield(WAIT, "chunk") then
      return object(Buffer)
    end
  end
end

function Handle:trailers()
  held(self)
  if ask("trailers") == "wait" then
    yield(WAIT, "trailers")
  end
  if ask("trailers") == "present" then
    return once(self, "own_trailers", function() return fields("trailers") end)
  end
end

function Handle:httpCall(cluster, headers, body, timeout, asynchronous)
  held(self)
  local options = { timeout_ms = timeout, asynchronous = asynchronous }
  if type(timeout) == "table" then
    options = timeout
  else
    number(timeout, 4, "httpCall")
  end
  if type(headers) ~= "table" then
    error("bad argument #2 to 'httpCall' (table expected, got " .. kind(headers) .. ")", 2)
  end
  local is_asynchronous = options.asynchronous
  if is_asynchronous ~= nil and type(is_asynchronous) ~= "boolean" then
    error("http call asynchronous flag must be 'true', 'false', or empty", 2)
  end
  if body ~= nil then
    body = text(body, 3, "httpCall")
  end
  ask("call", text(cluster, 1, "httpCall"), headers, body, options)
  if is_asynchronous then
    return
  end
  yield(WAIT, "call")
  local headers, body_of_response = ask("called")
  return headers, body_of_response
end

function Handle:respond(headers, body)
  held(self)
  if not host("may_respond") then
    error("respond() cannot be called if headers have been continued", 2)
  end
  if type(headers) ~= "table" then
    error("bad argument #1 to 'respond' (table expected, got " .. kind(headers) .. ")", 2)
  end
  if body ~= nil then
    body = text(body, 2, "respond")
  end
  ask("respond", headers, body)
  yield(WAIT, "respond")
end

function Handle:metadata()
  held(self)
  return object(Metadata)
end

function Handle:streamInfo()
  held(self)
  return object(Info)
end

function Handle:connection()
  held(self)
  return object(Connection)
end

function Handle:connectionStreamInfo()
  held(self)
  return object(ConnectionInfo)
end

function Handle:filterContext()
  held(self)
  return (ask("context"))
end

function Handle:clearRouteCache()
  held(self)
  ask("clear_route")
end

function Handle:setUpstreamOverrideHost(address, is_strict)
  held(self)
  ask("override_host", text(address, 1, "setUpstreamOverrideHost"), is_strict == true)
end

function Handle:base64Escape(bytes)
  held(self)
  return (ask("base64", text(bytes, 1, "base64Escape")))
end

EnvoyTimestampResolution = { MILLISECOND = 0, MICROSECOND = 1 }

function Handle:timestamp(resolution)
  held(self)
  if resolution ~= nil and resolution ~= EnvoyTimestampResolution.MILLISECOND then
    error("timestamp format must be MILLISECOND.", 2)
  end
  return math.floor(ask("now") / 1000)
end

function Handle:timestampString(resolution)
  held(self)
  if resolution == EnvoyTimestampResolution.MICROSECOND then
    return string.format("%.0f", ask("now"))
  end
  if resolution ~= nil and resolution ~= EnvoyTimestampResolution.MILLISECOND then
    error("timestamp format must be MILLISECOND or MICROSECOND.", 2)
  end
  return string.format("%.0f", math.floor(ask("now") / 1000))
end

local Key = class()

function Key:get()
  return self.key
end

function Handle:importPublicKey(der, length)
  held(self)
  local key = object(Key)
  key.key = ask("import_key", text(der, 1, "importPublicKey"):sub(1, number(length, 2, "importPublicKey")))
  return key
end

function Handle:verifySignature(hash, key, signature, signature_length, data, data_length)
  held(self)
  local is_valid, why = ask("verify", text(hash, 1, "verifySignature"), text(key, 2, "verifySignature"),
    text(signature, 3, "verifySignature"):sub(1, number(signature_length, 4, "verifySignature")),
    text(data, 5, "verifySignature"):sub(1, number(data_length, 6, "verifySignature")))
  return is_valid, why
end

-- The world that a script sees: its clock is the proxy's, and a table has one order, so that two runs of a simulation are equal.

local started = ...

local function seconds()
  if host == nil then
    return started
  end
  local _, now = host("now")
  return now / 1000000
end

function os.time(date)
  if date ~= nil then
    return raw_time(date)
  end
  return math.floor(seconds())
end

function os.clock()
  return seconds() - started
end

function os.date(format, time)
  return raw_date(format, time or math.floor(seconds()))
end

local function in_order(a, b)
  if type(a) == type(b) then
    return a < b
  end
  return type(a) == "number"
end

function pairs(of)
  local meta = getmetatable(of)
  if type(meta) == "table" and meta.__pairs ~= nil then
    return meta.__pairs(of)
  end
  if type(of) ~= "table" then
    error("bad argument #1 to 'pairs' (table expected, got " .. kind(of) .. ")", 2)
  end
  local keys, others = {}, {}
  for key in raw_next, of do
    if type(key) == "number" or type(key) == "string" then
      keys[#keys + 1] = key
    else
      others[#others + 1] = key
    end
  end
  sort(keys, in_order)
  for _, key in ipairs(others) do
    keys[#keys + 1] = key
  end
  local at = 0
  return function()
    while true do
      at = at + 1
      local key = keys[at]
      if key == nil then
        return nil
      end
      -- It may have been taken off meanwhile.
      local value = rawget(of, key)
      if value ~= nil then
        return key, value
      end
    end
  end, of, nil
end

-- What the proxy calls.

local function begin(of, number_of_stream)
  host, turn, stream = of, turn + 1, number_of_stream
end

local function finish()
  host = nil
end

-- Runs a function of the script. It returns whether it came to its end, and otherwise why not.
local function run(name, number_of_stream)
  local handle = setmetatable({ stream = number_of_stream }, Handle)
  local is_done, why = pcall(_G[name], handle)
  if is_done then
    return true
  end
  -- An error of the proxy's own is userdata.
  if type(why) == "string" or type(why) == "userdata" then
    return false, why
  end
  return false, type(why) == "number" and tostring(why) or "unspecified lua error"
end

return WAIT, begin, finish, run
