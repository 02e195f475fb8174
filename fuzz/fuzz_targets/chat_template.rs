//! Feeds a chat template, and the messages that it renders. Somebody else's program must end: with a text or with an error in words, within
//! its fuel, in memory that does not grow with what it asks for, without a panic, and with the same answer twice.
//!
//! Input: the template; then a part `@@role` for each message.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use reachspec::model::chat::ChatTemplate;
use reachspec::spec::prompts::ChatMessage;
use reachspec_fuzz::parts::parts;

fuzz_target!(|input: &[u8]| {
    let parts = parts(input);
    let Ok(source) = std::str::from_utf8(parts[0].1) else {
        return;
    };
    let specials = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let specials: BTreeMap<String, String> = (specials.iter())
        .map(|(name, token)| ((*name).to_owned(), (*token).to_owned()))
        .collect();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let messages: Vec<ChatMessage> = (parts[1..].iter())
        .map(|(role, content)| ChatMessage {
            role: text(role),
            content: text(content),
        })
        .collect();
    match ChatTemplate::compile(source, specials) {
        Err(problem) => assert!(!problem.is_empty()),
        Ok(template) => {
            let rendered = template.render(&messages);
            assert_eq!(rendered, template.render(&messages));
            if let Err(problem) = rendered {
                assert!(!problem.to_string().is_empty());
            }
        }
    }
});
